"""The settings of a prediction: how much work it is, and how it ends in labels."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hidiff.loading import check_sides


class PredictionSettings(BaseModel):
    """How much work a prediction is, and how it ends in labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(default=1, ge=1, description="refinements whose mean is taken")
    steps: int | None = Field(
        default=None,
        ge=1,
        description="steps of each refinement; left out: all T, but 1 at temperature 0, where more "
        "harden the expected mask",
    )
    sampler: Literal["ancestral", "ddim"] = "ancestral"
    temperature: float | None = Field(
        default=None,
        ge=0,
        description="of every draw: 1 draws masks as likely as the model finds them, each like "
        "another reader's; below 1 a draw keeps closer to the likeliest; at 0 nothing is left to "
        "chance, and samples are all alike. Left out: 0 for one sample, 0.5 for several",
    )
    seed: int = Field(default=0, description="of the draws; the same gives the same masks")
    rule: Literal["half", "expected_dice"] = Field(
        default="half",
        description="half: 0.5, or argmax; expected_dice: the cut of the best expected Dice",
    )
    mirror: bool = Field(default=False, description="average over four mirrored looks")
    window_size: tuple[int, int] | None = Field(
        default=None,
        description="height and width of the windows that images are looked through, multiples of "
        "32; left out: data.patch_size. In a larger one a pixel's surroundings are seen farther, "
        "and the answer depends less on where windows begin; a network that learned from much "
        "smaller patches can do worse in it",
    )
    overlap: float = Field(default=0.25, ge=0, lt=1, description="share of a window, each way")
    lit_view: bool = Field(
        default=False,
        description="find the lit view of each slice, as a round lens leaves it on black, and "
        "call all outside it background",
    )
    windows: int = Field(default=8, ge=1, description="windows at once")

    @field_validator("window_size")
    @classmethod
    def _fits_the_refiner(cls, size: tuple[int, int] | None) -> tuple[int, int] | None:
        return None if size is None else check_sides("window_size", size)

    @property
    def heat(self) -> float:
        """The temperature, chosen by the number of samples where it is left out."""
        if self.temperature is not None:
            return self.temperature
        return 0.0 if self.samples == 1 else 0.5

    def steps_of(self, num_steps: int) -> int:
        """The steps of a refinement whose diffusion has `num_steps`.

        One step says how likely each pixel is; those that follow settle on one mask, so that a
        sample's probabilities end near 0 or 1. With many samples their mean undoes that. Without
        draws nothing does: the edges of a map that is enlarged later, and its calibration, suffer.
        """
        return min(self.steps or (num_steps if self.heat else 1), num_steps)
