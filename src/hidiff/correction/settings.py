"""The settings of a correction session; quick to import, as options are made from this model."""

from pydantic import BaseModel, ConfigDict, Field

MB = 2**20  # bytes


class CorrectionSettings(BaseModel):
    """Settings of a session: how far marks reach and spread, carrying on, memory for speed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reach_px: int = Field(
        default=64,
        ge=0,
        description="distance from a mark, along rows and along columns, up to which the mask may "
        "change, in pixels of the image as the networks see it",
    )
    spread: float = Field(
        default=1.0,
        ge=0,
        description="weight of a pixel's neighbours against the refined probability, when exact "
        "marks spread after the refiner where the image is alike; 0 does not spread them",
    )
    carry_log_odds: float = Field(
        default=2.0,
        ge=0,
        description="log-odds that a corrected pixel adds to the same class in the next slice, "
        "when corrections are carried on; 2 stands for a probability of 0.88",
    )
    cache_mb: int = Field(
        default=1024,
        ge=0,
        description="memory for what the networks made of windows, in MB, so that the next mark "
        "there does not run the segmentor again",
    )
