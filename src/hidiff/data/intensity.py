"""Raw values to what the networks see: the same function in training and at prediction."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field

from hidiff.data.case import DataError


class Intensity(BaseModel):
    """How raw values become numbers around 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["unit", "zscore", "percentile"] = Field(
        default="unit",
        description="unit: 0..full_scale -> -1..1, the same for every image (photographs). "
        "zscore: mean 0, deviation 1, per image and channel (MRI). percentile: the 0.5th and "
        "99.5th percentile -> -1 and 1 per image and channel, cut there (MRI with bright spots)",
    )
    full_scale: float = Field(
        default=255.0,
        gt=0,
        description="unit only: the raw value of white; 255 for 8 bits, 65535 for 16",
    )


def normalise(
    image: Float[np.ndarray, "c h w"], intensity: Intensity
) -> Float[np.ndarray, "c h w"]:
    """The whole image's raw values -> what the networks see.

    Statistics (zscore, percentile) are taken over the pixels that are not 0 in every channel, so
    that the black around an eye or a stripped skull does not count; they are applied to all.
    Normalise the whole image, never a tile of it.
    """
    return _KINDS[intensity.kind](image, intensity)


def _unit(image: Float[np.ndarray, "c h w"], intensity: Intensity) -> Float[np.ndarray, "c h w"]:
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > intensity.full_scale:
        raise DataError(
            f"the image's values run from {low:g} to {high:g}, but intensity kind unit wants "
            f"0..{intensity.full_scale:g}. Set full_scale (65535 for 16 bits), or use kind zscore."
        )
    return image * np.float32(2 / intensity.full_scale) - np.float32(1)


def _zscore(image: Float[np.ndarray, "c h w"], intensity: Intensity) -> Float[np.ndarray, "c h w"]:
    # Sums in double: float32 loses the deviation of large 16-bit images.
    values = image[:, _counted(image)].astype(np.float64)
    centre = values.mean(axis=1)
    spread = values.std(axis=1)
    return _shift_and_scale(image, centre, spread)


def _percentile(
    image: Float[np.ndarray, "c h w"], intensity: Intensity
) -> Float[np.ndarray, "c h w"]:
    low, high = np.percentile(image[:, _counted(image)], [0.5, 99.5], axis=1)
    return _shift_and_scale(image, (low + high) / 2, (high - low) / 2).clip(-1, 1)


def _counted(image: Float[np.ndarray, "c h w"]) -> Bool[np.ndarray, "h w"]:
    counted = (image != 0).any(axis=0)
    return counted if counted.any() else np.ones_like(counted)


def _shift_and_scale(
    image: Float[np.ndarray, "c h w"],
    centre: Float[np.ndarray, " c"],
    spread: Float[np.ndarray, " c"],
) -> Float[np.ndarray, "c h w"]:
    """A constant channel has no spread: it becomes 0."""
    spread = np.where(spread > 1e-6 * np.abs(centre).clip(1e-6), spread, np.inf)
    shifted = (image - centre[:, None, None]) / spread[:, None, None]
    return shifted.astype(np.float32)


_KINDS: dict[str, Callable[[np.ndarray, Intensity], np.ndarray]] = {
    "unit": _unit,
    "zscore": _zscore,
    "percentile": _percentile,
}
