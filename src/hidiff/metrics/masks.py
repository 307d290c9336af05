"""How well one predicted mask agrees with the truth: the numbers of one case and class."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from monai.metrics.utils import get_mask_edges, get_surface_distance


@dataclass(frozen=True)
class Metric:
    """What a reader must know about a number.

    `both_empty` and `one_empty` are its values where a mask has no pixel; None: the image diagonal.
    """

    title: str
    better: Literal["higher", "lower"]
    unit: Literal["share", "distance"]
    both_empty: float
    one_empty: float | None


METRICS = {
    "dice": Metric("Dice", "higher", "share", 1.0, 0.0),
    "iou": Metric("IoU", "higher", "share", 1.0, 0.0),
    "sensitivity": Metric("Sensitivity", "higher", "share", 1.0, 0.0),
    "precision": Metric("Precision", "higher", "share", 1.0, 0.0),
    "hd95": Metric("HD95", "lower", "distance", 0.0, None),
    "surface_dice": Metric("Surface Dice", "higher", "share", 1.0, 0.0),
}


def case_metrics(
    predicted: Bool[np.ndarray, "h w"],
    truth: Bool[np.ndarray, "h w"],
    *,
    inside: Bool[np.ndarray, "h w"] | None = None,
    spacing: tuple[float, float] | None = None,
    tolerance: float = 1.0,
) -> dict[str, float]:
    """Every metric of METRICS for one mask; always finite, so that no case drops out of a mean.

    What counts where a mask is empty (no pixel inside the field of view):

    | metric       | both empty | only the truth empty | only the prediction empty |
    |--------------|------------|----------------------|---------------------------|
    | dice         | 1          | 0                    | 0                         |
    | iou          | 1          | 0                    | 0                         |
    | sensitivity  | 1          | 0                    | 0                         |
    | precision    | 1          | 0                    | 0                         |
    | surface_dice | 1          | 0                    | 0                         |
    | hd95         | 0          | image diagonal       | image diagonal            |

    `inside` is the field of view: pixels outside it count in neither mask, and a mask that runs
    over its rim has its surface there. `spacing` is the size of a pixel in mm, (row, column); with
    it, distances (`hd95`, `tolerance`) are in mm, without it in pixels. The diagonal is the whole
    image's, in the same unit.

    A surface is the pixels of a mask with a 4-neighbour outside it. `hd95` is the larger of the two
    directed 95th percentiles of surface distance; `surface_dice` the share of both surfaces' pixels
    that lie within `tolerance` of the other surface (https://arxiv.org/abs/1809.04430, by pixels).
    """
    check_same_size(predicted, truth, inside)
    if inside is not None:
        predicted, truth = predicted & inside, truth & inside
    num_predicted, num_truth = np.count_nonzero(predicted), np.count_nonzero(truth)
    if not num_predicted and not num_truth:
        return {name: metric.both_empty for name, metric in METRICS.items()}
    if not num_predicted or not num_truth:
        diagonal = float(np.hypot(*np.multiply(predicted.shape, spacing or (1.0, 1.0))))
        return {
            name: diagonal if metric.one_empty is None else metric.one_empty
            for name, metric in METRICS.items()
        }
    num_both = np.count_nonzero(predicted & truth)
    there, back = surface_distances(predicted, truth, spacing)
    num_near = np.count_nonzero(there <= tolerance) + np.count_nonzero(back <= tolerance)
    return {
        "dice": 2 * num_both / (num_predicted + num_truth),
        "iou": num_both / (num_predicted + num_truth - num_both),
        "sensitivity": num_both / num_truth,
        "precision": num_both / num_predicted,
        "hd95": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "surface_dice": num_near / (len(there) + len(back)),
    }


def surface_distances(
    predicted: Bool[np.ndarray, "h w"],
    truth: Bool[np.ndarray, "h w"],
    spacing: tuple[float, float] | None,
) -> tuple[Float[np.ndarray, "m"], Float[np.ndarray, "n"]]:
    """From each surface pixel of one mask to the other's surface, both ways; neither is empty."""
    edges, truth_edges = get_mask_edges(predicted, truth, crop=False)
    there = get_surface_distance(edges, truth_edges, spacing=spacing)
    back = get_surface_distance(truth_edges, edges, spacing=spacing)
    return np.asarray(there), np.asarray(back)


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
