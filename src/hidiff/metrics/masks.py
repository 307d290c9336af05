"""The agreement of one predicted mask with the truth: the numbers of one case and class."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

ROUNDING = 1e-6  # share of a tolerance by which a distance may exceed it: floats are not exact


@dataclass(frozen=True)
class Metric:
    """A metric's title, unit and better direction, for its readers."""

    title: str
    better: Literal["higher", "lower"]
    unit: Literal["share", "distance", "voxels"]
    """distance: in mm, or in pixels where the spacing is not known; voxels: always in voxels"""


@dataclass(frozen=True)
class MaskMetric(Metric):
    """A number of two masks, and what it is where a mask has no pixel."""

    both_empty: float
    one_empty: float | None
    """None: the image diagonal"""


METRICS = {
    "dice": MaskMetric("Dice", "higher", "share", 1.0, 0.0),
    "iou": MaskMetric("IoU", "higher", "share", 1.0, 0.0),
    "sensitivity": MaskMetric("Sensitivity", "higher", "share", 1.0, 0.0),
    "precision": MaskMetric("Precision", "higher", "share", 1.0, 0.0),
    "hd95": MaskMetric("HD95", "lower", "distance", 0.0, None),
    "assd": MaskMetric("ASSD", "lower", "distance", 0.0, None),
    "surface_dice": MaskMetric("Surface Dice", "higher", "share", 1.0, 0.0),
}
# Of volumes whose distances are in mm: published results on Synapse are in voxels.
VOXEL_METRICS = {"hd95_voxels": Metric("HD95 in voxels", "lower", "voxels")}


def case_metrics(
    predicted: Bool[np.ndarray, "*space"],
    truth: Bool[np.ndarray, "*space"],
    *,
    inside: Bool[np.ndarray, "*space"] | None = None,
    spacing: tuple[float, ...] | None = None,
    tolerance: float = 1.0,
) -> dict[str, float]:
    """Return every metric of METRICS for one mask, of an image (h w) or of a whole volume (d h w).

    A volume with a spacing also has those of VOXEL_METRICS: there a step is 1 along every axis.

    Always finite, so that no case drops out of a mean. What counts where a mask is empty (no pixel
    inside the field of view):

    | metric       | both empty | only the truth empty | only the prediction empty |
    |--------------|------------|----------------------|---------------------------|
    | dice         | 1          | 0                    | 0                         |
    | iou          | 1          | 0                    | 0                         |
    | sensitivity  | 1          | 0                    | 0                         |
    | precision    | 1          | 0                    | 0                         |
    | surface_dice | 1          | 0                    | 0                         |
    | hd95         | 0          | image diagonal       | image diagonal            |
    | hd95_voxels  | 0          | image diagonal       | image diagonal            |
    | assd         | 0          | image diagonal       | image diagonal            |

    `inside` is the field of view: pixels outside it count in neither mask, and a mask that runs
    over its rim has its surface there. `spacing` is the size of a pixel in mm along each axis; with
    it, distances (`hd95`, `assd`, `tolerance`) are in mm, without it in pixels or voxels. The
    diagonal is the whole image's, in the same unit.

    A surface is the pixels of a mask with a neighbour outside it (of 4, in a volume of 6); beyond
    the image is outside. `hd95` is the larger of the two directed 95th percentiles of surface
    distance, `assd` the mean over the pixels of both surfaces, `surface_dice` the share of them
    that lie within `tolerance` of the other surface (https://arxiv.org/abs/1809.04430, by pixels).
    """
    check_same_size(predicted, truth, inside)
    sides = pixel_sides(predicted.shape, spacing)
    if inside is not None:
        predicted, truth = predicted & inside, truth & inside
    numbers = mask_numbers(predicted, truth, sides, tolerance)
    if spacing is not None and predicted.ndim == 3:
        steps = (1.0,) * predicted.ndim
        numbers["hd95_voxels"] = mask_numbers(predicted, truth, steps, tolerance)["hd95"]
    return numbers


def mask_numbers(
    predicted: Bool[np.ndarray, "*space"],
    truth: Bool[np.ndarray, "*space"],
    sides: tuple[float, ...],
    tolerance: float,
) -> dict[str, float]:
    """Return every metric of METRICS for masks of pixels with these sides."""
    num_predicted, num_truth = int(predicted.sum()), int(truth.sum())
    if not num_predicted and not num_truth:
        return {name: metric.both_empty for name, metric in METRICS.items()}
    if not num_predicted or not num_truth:
        diagonal = float(np.linalg.norm(np.multiply(predicted.shape, sides)))
        return {
            name: diagonal if metric.one_empty is None else metric.one_empty
            for name, metric in METRICS.items()
        }
    num_both = int((predicted & truth).sum())
    there, back = surface_distances(predicted, truth, sides)
    both_ways = np.concatenate([there, back])
    return {
        "dice": 2 * num_both / (num_predicted + num_truth),
        "iou": num_both / (num_predicted + num_truth - num_both),
        "sensitivity": num_both / num_truth,
        "precision": num_both / num_predicted,
        "hd95": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "assd": float(both_ways.mean()),
        "surface_dice": float(np.mean(both_ways <= tolerance * (1 + ROUNDING))),
    }


def surface_distances(
    predicted: Bool[np.ndarray, "*space"],
    truth: Bool[np.ndarray, "*space"],
    sides: tuple[float, ...],
) -> tuple[Float[np.ndarray, "m"], Float[np.ndarray, "n"]]:
    """Return the distance from each surface pixel to the other mask's surface, both ways."""
    # Prediction imports this package, measures nothing, and does without SciPy.
    from scipy.ndimage import find_objects
    from scipy.spatial import KDTree

    # Outside the box around both masks nothing is: a volume is mostly that.
    (box,) = find_objects((predicted | truth).view(np.uint8))
    surface, other = (surface_points(mask[box]) * sides for mask in (predicted, truth))
    there, _ = KDTree(other).query(surface)
    back, _ = KDTree(surface).query(other)
    return np.asarray(there), np.asarray(back)


def surface_points(mask: Bool[np.ndarray, "*space"]) -> Float[np.ndarray, "n dimensions"]:
    """Return the coordinates of the surface's pixels, in pixels."""
    from scipy.ndimage import binary_erosion  # deferred, see surface_distances

    return np.argwhere(mask & ~np.asarray(binary_erosion(mask), dtype=bool)).astype(np.float64)


def pixel_sides(shape: tuple[int, ...], spacing: tuple[float, ...] | None) -> tuple[float, ...]:
    """Return the spacing, or 1 along every axis if it is not known."""
    if spacing is None:
        return (1.0,) * len(shape)
    if len(spacing) != len(shape) or not all(0 < side < np.inf for side in spacing):
        raise ValueError(
            f"the spacing is {spacing}, but one length in mm above 0 is wanted for each of the "
            f"{len(shape)} axes of the mask. Leave it out where it is not known."
        )
    return spacing


def distance_unit(num_axes: int, spacing: tuple[float, ...] | None) -> str:
    """Return the unit of distances: "mm"; without a spacing "px" (image) or "voxels" (volume)."""
    if spacing is not None:
        return "mm"
    return "px" if num_axes == 2 else "voxels"


def check_same_size(
    predicted: np.ndarray, truth: np.ndarray, inside: np.ndarray | None = None
) -> None:
    for name, other in (("truth", truth), ("field of view", inside)):
        if other is not None and other.shape != predicted.shape:
            raise ValueError(
                f"the prediction is {predicted.shape}, the {name} {other.shape}; they must be of "
                "one size. Resample one onto the other's grid first."
            )
    if inside is not None and not inside.any():
        raise ValueError(
            "the field of view holds no pixel, so there is nothing to measure. "
            "Check its file, or leave it out to measure the whole image."
        )
