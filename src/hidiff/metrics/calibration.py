"""Calibration, plane by plane: is a probability of 0.7 right seven times in ten?"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

from hidiff.metrics.masks import Metric, check_same_size

NUM_BINS = 15  # of equal width, as in https://arxiv.org/abs/1706.04599
CALIBRATION = {
    "brier": Metric("Brier", "lower", "share"),
    "ece": Metric("ECE", "lower", "share"),
}


@dataclass(frozen=True)
class Reliability:
    """Predicted probabilities and true shares, in bins of equal width by probability.

    Sums over pixels, so that those of several cases can be added.
    """

    count: Float[np.ndarray, "bins"]
    """pixels"""
    said: Float[np.ndarray, "bins"]
    """their probabilities added up"""
    true: Float[np.ndarray, "bins"]
    """number of them that are 1"""

    def __add__(self, other: "Reliability") -> "Reliability":
        return Reliability(self.count + other.count, self.said + other.said, self.true + other.true)

    @property
    def error(self) -> float:
        """Gap between mean probability and share of ones, averaged over bins by their pixels."""
        return float(np.abs(self.said - self.true).sum() / self.count.sum())

    def points(self) -> Iterator[tuple[int, int, float, float]]:
        """(bin, pixels, mean probability, share of ones) of each bin that holds a pixel."""
        for i in np.flatnonzero(self.count):
            count = self.count[i]
            yield int(i), int(count), float(self.said[i] / count), float(self.true[i] / count)


def brier_score(
    probability: Float[np.ndarray, "k *space"],
    y0: Shaped[np.ndarray, "k *space"],
    inside: Bool[np.ndarray, "*space"] | None = None,
) -> Float[np.ndarray, "k"]:
    """Mean squared distance of the probability from the mask's bits; 0 is best, always 0.5 is 0.25.

    `inside` is the field of view; pixels outside it don't count.
    """
    return np.array([np.mean((p - y) ** 2) for p, y in planes_inside(probability, y0, inside)])


def expected_calibration_error(
    probability: Float[np.ndarray, "k *space"],
    y0: Shaped[np.ndarray, "k *space"],
    inside: Bool[np.ndarray, "*space"] | None = None,
) -> Float[np.ndarray, "k"]:
    """Return the error of each plane's `reliability`; 0 is best."""
    return np.array([each.error for each in reliability(probability, y0, inside)])


def reliability(
    probability: Float[np.ndarray, "k *space"],
    y0: Shaped[np.ndarray, "k *space"],
    inside: Bool[np.ndarray, "*space"] | None = None,
) -> list[Reliability]:
    """Return the reliability of each plane's probability; `inside` is the field of view.

    The probability is that of the bit being 1 (not of the more likely of the two), so a plane of
    mostly background has most of its pixels in the first bin.
    """
    found = []
    for p, y in planes_inside(probability, y0, inside):
        bins = np.minimum((p * NUM_BINS).astype(int), NUM_BINS - 1)
        sums = (np.bincount(bins, each, NUM_BINS) for each in (np.ones_like(p), p, y))
        found.append(Reliability(*sums))
    return found


def planes_inside(
    probability: Float[np.ndarray, "k *space"],
    y0: Shaped[np.ndarray, "k *space"],
    inside: Bool[np.ndarray, "*space"] | None,
) -> Iterator[tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]]:
    """Return each plane's pixels in the field of view, in float64, as millions are added."""
    if inside is None:
        inside = np.ones(probability.shape[1:], dtype=bool)
    for p, y in zip(probability, y0, strict=True):
        check_same_size(p, y, inside)
        yield p[inside].astype(np.float64), y[inside].astype(np.float64)
