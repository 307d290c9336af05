"""Noise of lossy compression or of smoothing in masks of black and white, told from classes."""

import numpy as np
from jaxtyping import Integer, Num

# Noise gathers around black and white, within this share of the scale.
NEAR = 1 / 8
# Share of the pixels other than 0 that lie so near to one of both, where all else is noise.
MOSTLY = 0.8
# Values on each side, other than black and white themselves: classes seldom lie so.
SPREAD = 3


def is_noise(
    values: Num[np.ndarray, " n"],
    counts: Integer[np.ndarray, " n"],
    white: int = 255,
    *,
    lossy: bool = False,
) -> bool:
    """Return whether values (sorted) with their pixels are plainly noise around 0 and `white`.

    Then there are some on the dark side and some on the bright side, and few pixels in between. A
    map of classes has no such shape: 0, 1, 255 has no value beside 255, and 200 organs have as many
    pixels in the middle as anywhere. Files of a lossy kind have noise in any case, so for them most
    pixels near black and white are enough. In both, most pixels on the bright side are near white:
    JPEG of a grey mask (0/127) has as many near black, but its bright ones lie around the grey.
    """
    dark = (values > 0) & (values < white / 2)
    bright = (values > white / 2) & (values < white)
    spread = 0 if lossy else SPREAD
    if values[0] < 0 or not white / 2 < values[-1] <= white:
        return False
    if min(dark.sum(), bright.sum()) < spread:
        return False
    near = (values <= white * NEAR) | (values >= white * (1 - NEAR))
    above = values > 0
    if 2 * counts[values >= white * (1 - NEAR)].sum() < counts[values > white / 2].sum():
        return False
    mostly = 0.5 if lossy else MOSTLY
    return bool(counts[near & above].sum() >= mostly * counts[above].sum())


def few(values: list, most: int = 6) -> str:
    """Return the first few of some values for a message, and how many there are."""
    shown = ", ".join(f"{value:.9g}" for value in values[:most])
    return f"{shown}, ... ({len(values)} in all)" if len(values) > most else shown
