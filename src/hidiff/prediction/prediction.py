"""What a prediction is, and how probabilities become labels and uncertainty."""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8

from hidiff.labels import Labels
from hidiff.metrics import dice_threshold

LabelMap = UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "k h w"]


@dataclass(frozen=True)
class Prediction:
    """The refined mask of one image, and what it was made of; all of the image's size."""

    name: str
    labels: LabelMap
    """one class: 0, 1; exclusive: 0 the background, then in order; regions: a bit a plane"""
    probability: Float[np.ndarray, "k h w"]
    """mean over the samples, 0..1, of each plane; sums to 1 over exclusive planes"""
    uncertainty: Float[np.ndarray, "h w"] | Float[np.ndarray, "k h w"]
    """entropy of the probability in bits; of each plane, for regions"""
    prior: Float[np.ndarray, "k h w"]
    """the segmentor's own probability"""
    prior_labels: LabelMap
    variance: Float[np.ndarray, "k h w"] | None = None
    """variance over the samples; None where there is only one"""
    trace: list[tuple[int, np.ndarray, np.ndarray]] = field(default_factory=list)
    """(t, yt, y0_hat) of each step of the first sample, where it was asked for"""


def decide(probability: Float[np.ndarray, "k h w"], labels: Labels, rule: str) -> LabelMap:
    """Labels from probabilities.

    `half`: at least 0.5, or the argmax of exclusive classes. `expected_dice`: each class is cut
    where the map itself expects the best Dice (metrics.dice_threshold); of several exclusive
    classes above their cuts the one furthest above wins.
    """
    if rule == "half":
        return labels.decode(probability)
    classes = probability[labels.class_planes]
    cuts = np.array([dice_threshold(plane) for plane in classes], dtype=np.float32)[:, None, None]
    above = classes > cuts
    if labels.kind == "exclusive":
        share = np.where(above, classes / np.maximum(cuts, 1e-6), 0)
        best = share.argmax(axis=0) + 1
        return np.where(above.any(axis=0), best, 0).astype(np.uint8)
    bits = above.astype(np.uint8)
    return bits[0] if labels.kind == "one_class" else bits


def cut_outside(
    prediction: Prediction, inside: Bool[np.ndarray, "h w"], labels: Labels
) -> Prediction:
    """Background without a doubt where it is not `inside`, in the prior too; not in the trace."""

    def cut(planes: Float[np.ndarray, "k h w"]) -> Float[np.ndarray, "k h w"]:
        kept = planes * inside
        if labels.kind == "exclusive":
            kept[0][~inside] = 1
        return kept

    variance = prediction.variance
    return replace(
        prediction,
        labels=prediction.labels * inside,
        probability=cut(prediction.probability),
        uncertainty=prediction.uncertainty * inside,
        prior=cut(prediction.prior),
        prior_labels=prediction.prior_labels * inside,
        variance=None if variance is None else variance * inside,
    )


RULES = ("half", "expected_dice")


def entropy_bits(
    probability: Float[np.ndarray, "k h w"], labels: Labels
) -> Float[np.ndarray, "h w"] | Float[np.ndarray, "k h w"]:
    """Uncertainty: of the class (exclusive), of the plane (one class, regions)."""
    if labels.kind == "exclusive":
        return _information(probability).sum(axis=0)
    each = _information(probability) + _information(1 - probability)
    return each[0] if labels.kind == "one_class" else each


def _information(p: Float[np.ndarray, "k h w"]) -> Float[np.ndarray, "k h w"]:
    # 0 * log 0 is 0
    return (-p * np.log2(np.maximum(p, np.finfo(np.float32).tiny))).astype(np.float32)
