"""Whether a probability of 0.7 is right seven times in ten, plane by plane."""

import numpy as np
from jaxtyping import Bool, Float

from hidiff.metrics.masks import check_same_size

NUM_BINS = 15  # of equal width, as in https://arxiv.org/abs/1706.04599


def brier_score(
    probability: Float[np.ndarray, "k h w"],
    y0: Float[np.ndarray, "k h w"],
    inside: Bool[np.ndarray, "h w"] | None = None,
) -> Float[np.ndarray, "k"]:
    """Mean squared distance of the probability from the mask's bits; 0 is best, always 0.5 is 0.25.

    `inside` is the field of view; pixels outside it don't count.
    """
    probability, y0 = pixels_inside(probability, y0, inside)
    return np.mean((probability - y0) ** 2, axis=1)


def expected_calibration_error(
    probability: Float[np.ndarray, "k h w"],
    y0: Float[np.ndarray, "k h w"],
    inside: Bool[np.ndarray, "h w"] | None = None,
) -> Float[np.ndarray, "k"]:
    """Gap between probability and share of ones, averaged over bins by their pixels; 0 is best.

    The probability is that of the bit being 1 (not of the more likely of the two), so a plane of
    mostly background has most of its pixels in the first bin. `inside` is the field of view.
    """
    probability, y0 = pixels_inside(probability, y0, inside)
    bins = np.minimum((probability * NUM_BINS).astype(int), NUM_BINS - 1)
    # Per bin |sum of p - sum of y0| is already the bin's gap times its number of pixels.
    gaps = [
        np.abs(np.bincount(b, weights=p - y, minlength=NUM_BINS)).sum()
        for b, p, y in zip(bins, probability, y0, strict=True)
    ]
    return np.array(gaps) / probability.shape[1]


def pixels_inside(
    probability: Float[np.ndarray, "k h w"],
    y0: Float[np.ndarray, "k h w"],
    inside: Bool[np.ndarray, "h w"] | None,
) -> tuple[Float[np.ndarray, "k n"], Float[np.ndarray, "k n"]]:
    """The pixels in the field of view, in float64: millions of them are going to be added up."""
    if inside is None:
        inside = np.ones(probability.shape[1:], dtype=bool)
    check_same_size(probability[0], y0[0], inside)
    return probability[:, inside].astype(np.float64), y0[:, inside].astype(np.float64)
