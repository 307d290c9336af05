"""Refuse images whose values lie on another scale than the model's, and rescale them on request.

A model that was trained on 0..255 sees an image of 0..1 as black, and answers with an empty mask.
The statistics of kinds zscore and percentile fit any scale, so nothing is checked for them.
"""

from dataclasses import replace

import numpy as np

from hidiff.images.files import DataError
from hidiff.images.image import Image
from hidiff.images.intensity import Intensity, range_error

# An array below this share of full scale is refused: 0..1 of 255, 0..255 of 4095, 0..4095 of 65535.
DARKEST = 1 / 16
NARROW = 4  # scales up to this one are too near to 0..1 to tell the two apart
NARROWEST_CT = 20.0  # Hounsfield units; windows of CT are wider
TOLERANCE = 1e-3  # of the whole range: rounding errors of a rescaled image
SCALES = (1.0, 255.0, 4095.0, 65535.0)


def check_range(image: Image, intensity: Intensity) -> None:
    """Raise DataError for values that cannot be on the scale of `intensity`.

    Values of 8 bits are always 0..255. An array that is almost black on the model's scale is
    refused; a file only where it holds fractions up to 1, as frames of a dark room are real.
    """
    stored = image.stored
    if stored is None or intensity.kind not in ("unit", "window"):
        return
    if stored.kind == "b":
        raise DataError(
            "the image holds True and False, as a mask does, but brightness is wanted. Give the "
            "image itself."
        )
    low, high = float(image.values.min()), float(image.values.max())
    off = _off_scale if intensity.kind == "unit" else _off_window
    if low < high and off(low, high, stored, intensity, in_memory=image.path is None):
        raise range_error(low, high, intensity, guess_scale(low, high))


def _off_scale(
    low: float, high: float, stored: np.dtype, intensity: Intensity, *, in_memory: bool
) -> bool:
    scale = intensity.full_scale
    if low < 0 or high > scale:
        return True
    if stored.itemsize == 1:
        return not NARROW < scale <= NARROW * 255
    if scale <= NARROW:
        return stored.kind in "ui"
    if in_memory:
        return high <= scale * DARKEST
    return stored.kind == "f" and high <= 1


def _off_window(
    low: float, high: float, stored: np.dtype, intensity: Intensity, *, in_memory: bool
) -> bool:
    assert intensity.window is not None
    bottom, top = intensity.window
    if bottom < 0 and stored.kind == "u" and (in_memory or stored.itemsize == 1):
        return True  # Hounsfield units are signed
    return stored.kind == "f" and top - bottom > NARROWEST_CT and low >= -1 and high <= 1


def guess_scale(low: float, high: float) -> tuple[float, float] | None:
    """Return the usual scale that values from `low` to `high` seem to be on, or None."""
    if low < 0:
        return (-1.0, 1.0) if low >= -1 and high <= 1 else None
    return 0.0, next((scale for scale in SCALES if high <= scale), high)


def rescale(
    image: Image, value_range: tuple[float | int, float | int], intensity: Intensity
) -> Image:
    """Return the image with `value_range`, its (black, white), stretched to the model's scale.

    Raises ValueError for values outside `value_range`.
    """
    black, white = (float(end) for end in value_range)
    if not (np.isfinite([black, white]).all() and black < white):
        raise ValueError(f"value_range is {value_range}, but (black, white) is wanted: (0, 1).")
    low, high = float(image.values.min()), float(image.values.max())
    room = TOLERANCE * (white - black)
    if low < black - room or high > white + room:
        raise ValueError(
            f"value_range is ({black:g}, {white:g}), but the image's values run from {low:g} to "
            f"{high:g}. Give the values that mean black and white in it."
        )
    bottom, top = _scale_of(intensity)
    share = ((image.values.astype(np.float64) - black) / (white - black)).clip(0, 1)
    values = (bottom + share * (top - bottom)).astype(np.float32)
    return replace(image, values=values, stored=None)


def _scale_of(intensity: Intensity) -> tuple[float, float]:
    if intensity.kind == "unit":
        return 0.0, intensity.full_scale
    return intensity.window or (0.0, 1.0)
