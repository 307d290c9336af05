"""Turn raw values into what the networks see, by the same function in training and prediction."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hidiff.images.files import DataError


class Intensity(BaseModel):
    """The rule that turns raw values into numbers around 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["unit", "window", "zscore", "percentile"] = Field(
        default="unit",
        description="unit: 0..full_scale -> -1..1, the same for every image (photographs). "
        "window: the same, from `window`'s low to its high, cut there (CT, in HU). "
        "zscore: mean 0, deviation 1, per image and channel (MRI). percentile: the 0.5th and "
        "99.5th percentile -> -1 and 1 per image and channel, cut there (MRI with bright spots)",
    )
    full_scale: float = Field(
        default=255.0,
        gt=0,
        description="unit only: the raw value of white; 255 for 8 bits, 65535 for 16",
    )
    window: tuple[float, float] | None = Field(
        default=None,
        description="window only: (low, high), such as [-160, 240] HU for the abdomen's organs",
    )

    @model_validator(mode="after")
    def _window_where_wanted(self) -> "Intensity":
        if (self.kind == "window") != (self.window is not None):
            raise ValueError("intensity.window belongs to kind: window, and to that alone")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise ValueError(f"intensity.window is {self.window}, but its first must be lower")
        return self


def normalise(
    image: Float[np.ndarray, "c *space"], intensity: Intensity
) -> Float[np.ndarray, "c *space"]:
    """Turn the raw values of a whole image or volume into those that the networks see.

    The statistics of zscore and percentile leave out pixels that are 0 in every channel, so that
    the black around an eye or around a stripped skull does not count. They are applied to all
    pixels. Normalise whole images, never a tile or a single slice.
    """
    return _KINDS[intensity.kind](image, intensity)


def range_error(
    low: float, high: float, intensity: Intensity, guess: tuple[float, float] | None = None
) -> DataError:
    """Return the error for values on another scale; `guess` is the scale they seem to be on."""
    if intensity.window is None:
        wanted = f"0..{intensity.full_scale:g} (kind unit, full_scale {intensity.full_scale:g})"
    else:
        bottom, top = intensity.window
        wanted = f"the window {bottom:g}..{top:g}, in Hounsfield units for CT (kind window)"
    example = "(black, white)" if guess is None else "({:g}, {:g})".format(*guess)
    return DataError(
        f"the image's values run from {low:g} to {high:g}, but data.intensity wants {wanted}. In "
        f"Python pass value_range={example}. Convert files to the scale of the training images; "
        "for a new training change data.intensity (full_scale 65535 for 16 bits, or kind zscore)."
    )


def _unit(
    image: Float[np.ndarray, "c *space"], intensity: Intensity
) -> Float[np.ndarray, "c *space"]:
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > intensity.full_scale:
        raise range_error(low, high, intensity)
    return image * np.float32(2 / intensity.full_scale) - np.float32(1)


def _window(
    image: Float[np.ndarray, "c *space"], intensity: Intensity
) -> Float[np.ndarray, "c *space"]:
    assert intensity.window is not None
    low, high = (np.float32(end) for end in intensity.window)
    return (image.clip(low, high) - low) * (2 / (high - low)) - np.float32(1)


def _zscore(
    image: Float[np.ndarray, "c *space"], intensity: Intensity
) -> Float[np.ndarray, "c *space"]:
    # Sums in double: float32 loses the deviation of large 16-bit images.
    values = image[:, _counted(image)].astype(np.float64)
    centre = values.mean(axis=1)
    spread = values.std(axis=1)
    return _shift_and_scale(image, centre, spread)


def _percentile(
    image: Float[np.ndarray, "c *space"], intensity: Intensity
) -> Float[np.ndarray, "c *space"]:
    low, high = np.percentile(image[:, _counted(image)], [0.5, 99.5], axis=1)
    return _shift_and_scale(image, (low + high) / 2, (high - low) / 2).clip(-1, 1)


def _counted(image: Float[np.ndarray, "c *space"]) -> Bool[np.ndarray, "*space"]:
    counted = (image != 0).any(axis=0)
    return counted if counted.any() else np.ones_like(counted)


def _shift_and_scale(
    image: Float[np.ndarray, "c *space"],
    centre: Float[np.ndarray, " c"],
    spread: Float[np.ndarray, " c"],
) -> Float[np.ndarray, "c *space"]:
    """Shift and scale each channel. A constant channel becomes 0."""
    spread = np.where(spread > 1e-6 * np.abs(centre).clip(1e-6), spread, np.inf)
    shape = (-1, *[1] * (image.ndim - 1))
    shifted = (image - centre.reshape(shape)) / spread.reshape(shape)
    return shifted.astype(np.float32)


_KINDS: dict[str, Callable[[np.ndarray, Intensity], np.ndarray]] = {
    "unit": _unit,
    "window": _window,
    "zscore": _zscore,
    "percentile": _percentile,
}
