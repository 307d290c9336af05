"""Single objects of a mask: which were found, which were made up, and how well each is drawn.

An object is a connected component: pixels that touch, corners included (8 neighbours, in a volume
26). A mask's overall Dice hardly knows of the small ones.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from hidiff.metrics.masks import MaskMetric, check_same_size, distance_unit, pixel_sides

if TYPE_CHECKING:  # imported where it is used, see `overlaps`
    import scipy.sparse

OBJECT_METRICS = {
    "object_f1": MaskMetric("Object F1", "higher", "share", 1.0, 0.0),
    "object_recall": MaskMetric("Object recall", "higher", "share", 1.0, 0.0),
    "object_precision": MaskMetric("Object precision", "higher", "share", 1.0, 0.0),
    "object_dice": MaskMetric("Object Dice", "higher", "share", 1.0, 0.0),
}


@dataclass(frozen=True)
class Objects:
    """The objects of a truth and of a prediction of it, and which belong together."""

    size: Float[np.ndarray, "n"]
    """size of each object of the truth: pixels, or mm² (mm³) where the spacing is known"""
    found: Bool[np.ndarray, "n"]
    """True if it was matched"""
    dice: Float[np.ndarray, "n"]
    """with all predicted objects that touch it; 0 where none does"""
    right: Bool[np.ndarray, "m"]
    """True for each predicted object that was matched"""


def match_objects(
    predicted: Bool[np.ndarray, "*space"],
    truth: Bool[np.ndarray, "*space"],
    *,
    inside: Bool[np.ndarray, "*space"] | None = None,
    spacing: tuple[float, ...] | None = None,
    min_iou: float | None = None,
) -> Objects:
    """Match the objects of one mask with those of the other.

    Without `min_iou`, objects that share a pixel match: one prediction may find several objects,
    and one object may be found in pieces. With it, each matches at most one, and only above that
    IoU; of all ways to pair them one with the most pairs counts (from 0.5 on there is only one).

    The Dice of an object is taken with all predicted objects that share a pixel with it, whole, as
    BraTS 2023 does it lesion by lesion (https://arxiv.org/abs/2305.17033; here without dilation).
    """
    check_same_size(predicted, truth, inside)
    sides = pixel_sides(truth.shape, spacing)
    if inside is not None:
        predicted, truth = predicted & inside, truth & inside
    shared, counts, predicted_counts = overlaps(truth, predicted)
    touch = shared.astype(bool)
    drawn = touch @ predicted_counts
    dice = 2 * shared.sum(axis=1) / (counts + drawn)
    if min_iou is None:
        found, right = touch.sum(axis=1) > 0, touch.sum(axis=0) > 0
    else:
        found, right = match_one_to_one(shared, counts, predicted_counts, min_iou)
    return Objects(counts * float(np.prod(sides)), found, dice, right)


def overlaps(
    truth: Bool[np.ndarray, "*space"], predicted: Bool[np.ndarray, "*space"]
) -> tuple["scipy.sparse.csr_array", Int[np.ndarray, "n"], Int[np.ndarray, "m"]]:
    """Count the pixels of all objects, and those that each pair of objects shares."""
    # Prediction imports this package, measures nothing, and does without SciPy.
    from scipy.ndimage import generate_binary_structure, label
    from scipy.sparse import coo_array

    touching = generate_binary_structure(truth.ndim, truth.ndim)
    # SciPy returns a pair unless it is given an output.
    labels, n = label(truth, touching)  # pyright: ignore[reportGeneralTypeIssues]
    others, m = label(predicted, touching)  # pyright: ignore[reportGeneralTypeIssues]
    both = truth & predicted
    pairs = (labels[both] - 1, others[both] - 1)
    shared = coo_array((np.ones(len(pairs[0]), dtype=int), pairs), shape=(n, m)).tocsr()
    counts = np.bincount(labels[truth] - 1, minlength=n)
    return shared, counts, np.bincount(others[predicted] - 1, minlength=m)


def match_one_to_one(
    shared: "scipy.sparse.csr_array",
    counts: Int[np.ndarray, "n"],
    predicted_counts: Int[np.ndarray, "m"],
    min_iou: float,
) -> tuple[Bool[np.ndarray, "n"], Bool[np.ndarray, "m"]]:
    """Pair objects of an IoU above `min_iou`, as many as can be; True for those with a partner."""
    from scipy.sparse import coo_array  # deferred, see overlaps
    from scipy.sparse.csgraph import maximum_bipartite_matching

    pairs = shared.tocoo()
    row, column = pairs.coords
    iou = pairs.data / (counts[row] + predicted_counts[column] - pairs.data)
    close = iou > min_iou
    kept = coo_array((close[close], (row[close], column[close])), shape=shared.shape)
    partner = maximum_bipartite_matching(kept.tocsr(), perm_type="column")
    found = partner >= 0
    right = np.zeros(len(predicted_counts), dtype=bool)
    right[partner[found]] = True
    return found, right


def object_metrics(objects: Objects) -> dict[str, float]:
    """Return every metric of OBJECT_METRICS for one case and class.

    Recall is the share of the truth's objects that were found, precision that of the predicted ones
    that are right, F1 their harmonic mean; the Dice is the mean over the truth's objects. All are 1
    where there is no object and none was predicted, and 0 where there are objects on one side only.
    """
    if not len(objects.found) and not len(objects.right):
        return {name: metric.both_empty for name, metric in OBJECT_METRICS.items()}
    if not len(objects.found) or not len(objects.right):
        return dict.fromkeys(OBJECT_METRICS, 0.0)
    recall, precision = float(objects.found.mean()), float(objects.right.mean())
    return {
        "object_f1": 2 * recall * precision / (recall + precision) if recall else 0.0,
        "object_recall": recall,
        "object_precision": precision,
        "object_dice": float(objects.dice.mean()),
    }


def size_unit(num_axes: int, spacing: tuple[float, ...] | None) -> str:
    """Return the unit of an object's size."""
    if spacing is None:
        return distance_unit(num_axes, None)
    return "mm²" if num_axes == 2 else "mm³"
