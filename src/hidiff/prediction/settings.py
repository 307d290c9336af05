"""The settings of a prediction: how much work it is, and how it ends in labels.

The options of `hidiff predict`, `refine` and `evaluate` are made from this model, so this file must
stay quick to import.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hidiff.sides import check_sides


class PredictionSettings(BaseModel):
    """The settings of a prediction: its amount of work, and its way to labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(
        default=1, ge=1, description="number of refined masks per image; the result is their mean"
    )
    steps: int | None = Field(
        default=None,
        ge=1,
        description="steps of each refinement, at most diffusion.num_steps; left out: 1 at "
        "temperature 0, else all",
    )
    sampler: str = Field(
        default="ancestral",
        description="method that draws each step from the one before, such as ancestral or ddim "
        "(hidiff.diffusion.SAMPLERS)",
    )
    temperature: float | None = Field(
        default=None,
        ge=0,
        description="randomness of the draws: 0 keeps to the most likely mask; 1 draws masks as "
        "often as the model finds them likely, as different readers would; left out: 0 for one "
        "sample, 0.5 for several",
    )
    seed: int = Field(
        default=0, description="seed of the random draws; the same seed gives the same masks"
    )
    rule: Literal["half", "expected_dice"] = Field(
        default="half",
        description="rule that turns probabilities into labels. half: threshold 0.5, or the most "
        "likely class; expected_dice: the threshold with the best expected Dice",
    )
    mirror: bool = Field(
        default=False,
        description="average over four mirrored copies of the image, in 4 times the time",
    )
    window_size: tuple[int, int] | None = Field(
        default=None,
        description="height and width of the sliding window, multiples of 32; left out: the patch "
        "size of training. Larger windows show more context and fewer seams, but a network trained "
        "on much smaller patches can do worse",
    )
    overlap: float = Field(
        default=0.25, ge=0, lt=1, description="share of a window that the next one overlaps"
    )
    lit_view: bool = Field(
        default=False,
        description="find the lit part of each slice, such as the round view of a fundus camera "
        "or an endoscope, and call everything outside it background",
    )
    windows: int = Field(default=8, ge=1, description="number of windows computed at once")
    certain: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="windows where every prior probability is less than this from 0 or 1, such as "
        "0.001, keep the prior, which saves the refiner's work; 0 refines every window. Windows "
        "with marks, and all under the rule expected_dice or with a trace, are refined",
    )

    @field_validator("sampler")
    @classmethod
    def _known_sampler(cls, name: str) -> str:
        from hidiff.diffusion.samplers import SAMPLERS  # deferred: it imports torch

        if name not in SAMPLERS:
            raise ValueError(f"sampler is {name!r}, but must be one of {', '.join(SAMPLERS)}")
        return name

    @field_validator("window_size")
    @classmethod
    def _fits_the_refiner(cls, size: tuple[int, int] | None) -> tuple[int, int] | None:
        return None if size is None else check_sides("window_size", size)

    @property
    def temperature_or_default(self) -> float:
        """The temperature; where it is left out, 0 for one sample and 0.5 for several."""
        if self.temperature is not None:
            return self.temperature
        return 0.0 if self.samples == 1 else 0.5

    def steps_of(self, num_steps: int) -> int:
        """Return the number of steps of one refinement; the diffusion has `num_steps`.

        One step says how likely each pixel is. Further steps settle on one mask, so that a sample's
        probabilities end near 0 or 1, which the mean of many samples undoes. At temperature 0
        nothing undoes it, and calibration and the edges of enlarged maps would suffer: so one step.
        """
        steps = self.steps or (num_steps if self.temperature_or_default else 1)
        return min(steps, num_steps)
