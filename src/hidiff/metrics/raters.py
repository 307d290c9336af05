"""Samples of a model against several raters: do they differ where people do, and no more?"""

import math

import numpy as np
from jaxtyping import Bool, Float

from hidiff.metrics.masks import Metric, check_same_size

RATER_METRICS = {
    "ged": Metric("GED²", "lower", "share"),
    "matched_iou": Metric("Matched IoU", "higher", "share"),
}


def rater_metrics(
    samples: Bool[np.ndarray, "n *space"], raters: Bool[np.ndarray, "r *space"]
) -> dict[str, float]:
    """Return every metric of RATER_METRICS for one case and class; samples are masks, cut at 0.5.

    The numbers of samples and raters may differ. Two empty masks agree perfectly (IoU 1), an empty
    one and any other not at all.
    """
    check_same_size(samples[0], raters[0])
    across = iou_matrix(samples, raters)
    return {
        "ged": energy_distance(across, iou_matrix(samples, samples), iou_matrix(raters, raters)),
        "matched_iou": matched_iou(across),
    }


def energy_distance(
    across: Float[np.ndarray, "n r"],
    samples: Float[np.ndarray, "n n"],
    raters: Float[np.ndarray, "r r"],
) -> float:
    """Return the squared generalised energy distance of 1 - IoU, from three IoU matrices.

    2 E[d(sample, rater)] - E[d(sample, sample')] - E[d(rater, rater')], each a mean over all pairs,
    those of a mask with itself included, as in https://arxiv.org/abs/1806.05034: 0 for the raters'
    own masks. One sample has no spread of its own, so few samples score worse than many.
    """
    return float(2 * np.mean(1 - across) - np.mean(1 - samples) - np.mean(1 - raters))


def matched_iou(across: Float[np.ndarray, "n r"]) -> float:
    """Return the mean IoU of samples and raters in the best one-to-one pairing.

    Each side is repeated until both are as many as their least common multiple, then paired one to
    one (Hungarian method), as in https://arxiv.org/abs/1905.13077.
    """
    # Prediction imports this package, measures nothing, and does without SciPy.
    from scipy.optimize import linear_sum_assignment

    n, r = across.shape
    common = math.lcm(n, r)
    repeated = across.repeat(common // n, axis=0).repeat(common // r, axis=1)
    return float(repeated[linear_sum_assignment(repeated, maximize=True)].mean())


def iou_matrix(
    left: Bool[np.ndarray, "n *space"], right: Bool[np.ndarray, "r *space"]
) -> Float[np.ndarray, "n r"]:
    """Return the IoU of every mask with every other; 1 if both are empty."""
    left, right = (each.reshape(len(each), -1).astype(np.float64) for each in (left, right))
    both = left @ right.T
    either = left.sum(axis=1)[:, None] + right.sum(axis=1) - both
    return np.divide(both, either, out=np.ones_like(both), where=either > 0)
