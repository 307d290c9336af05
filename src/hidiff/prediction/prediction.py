"""A prediction, and the way from probabilities to labels and uncertainty."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

from hidiff.images import Geometry, ImageFiles, PictureGeometry, find_view
from hidiff.labels import Labels
from hidiff.metrics import Doubt, dice_threshold

LabelMap = UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "k h w"]
Native = Shaped[np.ndarray, "*native"]
Step = tuple[int, np.ndarray, np.ndarray]
"""t, yt and y0_hat of one step"""

ALWAYS_KEPT = ("labels", "prior_labels", "uncertainty")


@dataclass(frozen=True)
class SliceMaps:
    """The refined mask of one slice, and what it was made of; all of the file's size."""

    labels: LabelMap
    probability: Float[np.ndarray, "k h w"]
    uncertainty: Float[np.ndarray, "h w"] | Float[np.ndarray, "k h w"]
    prior: Float[np.ndarray, "k h w"]
    prior_labels: LabelMap
    variance: Float[np.ndarray, "k h w"] | None = None
    trace: list[Step] = field(default_factory=list)

    def named(self) -> dict[str, np.ndarray]:
        """Return the maps by name, those of each step among them."""
        maps = {each.name: getattr(self, each.name) for each in fields(self)}
        for t, yt, y0_hat in maps.pop("trace"):
            maps |= {f"yt {t}": yt, f"y0_hat {t}": y0_hat}
        return {name: values for name, values in maps.items() if values is not None}


@dataclass(frozen=True)
class Prediction:
    """The refined masks of an image, in the form of its file, with probability and uncertainty.

    Maps of a picture have the axes (h, w) or (k, h, w), those of a volume the axes (x, y, z) or
    (k, x, y, z) of its file. `maps` holds the same with slices first, by name.
    """

    name: str
    classes: Labels
    geometry: Geometry
    source: ImageFiles | None = None
    """the files of the image, where it came from files"""
    keeps_probability: bool = True
    scratch: Path | None = None
    """folder where probabilities lie as files mapped into memory; None for memory itself"""
    maps: dict[str, Shaped[np.ndarray, "*k d h w"]] = field(default_factory=dict)
    doubts: Doubt = field(default_factory=Doubt)

    def put(self, number: int, slice: SliceMaps) -> None:
        """Take the maps of one slice in; probabilities and steps only if they are kept."""
        for name, values in slice.named().items():
            optional = name not in ALWAYS_KEPT
            if optional and not self.keeps_probability:
                continue
            if name not in self.maps:
                self.maps[name] = self._make_room(name, values, self.scratch if optional else None)
            self.maps[name][..., number, :, :] = values
        masks = np.stack(list(self.classes.class_masks(slice.labels).values()))
        self.doubts.put(number, slice.probability[self.classes.class_planes], masks)

    def _make_room(self, name: str, values: np.ndarray, scratch: Path | None) -> np.ndarray:
        shape = (*values.shape[:-2], *self.geometry.shape)
        dtype = self.geometry.map_dtype if values.dtype.kind == "f" else values.dtype
        if scratch is None:
            return np.zeros(shape, dtype)
        return np.lib.format.open_memmap(
            scratch / f"{name}.npy", mode="w+", dtype=np.dtype(dtype), shape=shape
        )

    @property
    def labels(self) -> Native:
        """Integers. One class: 0 or 1. Exclusive classes: 0 is the background, 1 the first class.

        For regions, each plane has a mask of 0 and 1.
        """
        return self.geometry.native(self.maps["labels"])

    @property
    def prior_labels(self) -> Native:
        """Labels of the segmentor's own masks."""
        return self.geometry.native(self.maps["prior_labels"])

    @property
    def uncertainty(self) -> Native:
        """Entropy of the probability, in bits; for regions one map per plane."""
        return self.geometry.native(self.maps["uncertainty"])

    @property
    def doubt(self) -> float:
        """Doubt in the masks, 0..1. It needs no truth: review the cases with the highest first.

        It is 1 less the mean probability of each class inside its mask, averaged over classes; an
        empty mask counts the highest probability that it left out.
        """
        return self.doubts.mean

    @property
    def probability(self) -> Native | None:
        """Mean over the samples, 0..1, for each plane; exclusive planes sum to 1.

        None for a volume, unless predicted with keep_probability=True.
        """
        return self._optional("probability")

    @property
    def prior(self) -> Native | None:
        """The segmentor's own probability; None if `probability` is None."""
        return self._optional("prior")

    @property
    def variance(self) -> Native | None:
        """Variance over the samples; None for a single sample, or without `probability`."""
        return self._optional("variance")

    @property
    def trace(self) -> list[Step]:
        """List of (t, yt, y0_hat) of each step of the first sample; needs trace=True."""
        steps = sorted((int(name[3:]) for name in self.maps if name[:3] == "yt "), reverse=True)
        native = self.geometry.native
        return [(t, native(self.maps[f"yt {t}"]), native(self.maps[f"y0_hat {t}"])) for t in steps]

    @property
    def most_bits(self) -> float:
        """The highest uncertainty there can be, in bits."""
        exclusive = self.classes.kind == "exclusive"
        return float(np.log2(self.classes.num_planes)) if exclusive else 1.0

    def spatial(self, name: str) -> np.ndarray | None:
        """Return a map as metrics count it, (h, w) or (d, h, w); None if it was not kept."""
        values = self.maps.get(name)
        return None if values is None else self.geometry.spatial(values)

    def spatial_of(self, values: Native) -> np.ndarray:
        """Return a map in the form of the file, such as one of the trace, as metrics count it."""
        return self.geometry.spatial(self.geometry.from_native(values))

    def _optional(self, name: str) -> Native | None:
        values = self.maps.get(name)
        return None if values is None else self.geometry.native(values)


def one_slice(name: str, classes: Labels, maps: SliceMaps) -> Prediction:
    """Return the maps of one slice as the prediction of a picture."""
    height, width = maps.labels.shape[-2:]
    prediction = Prediction(name, classes, PictureGeometry((height, width)))
    prediction.put(0, maps)
    return prediction


def decide(probability: Float[np.ndarray, "k h w"], labels: Labels, rule: str) -> LabelMap:
    """Return labels for probabilities.

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


def cut_outside(maps: SliceMaps, inside: Bool[np.ndarray, "h w"], labels: Labels) -> SliceMaps:
    """Make everything outside background without a doubt, in the prior too; not in the trace."""

    def cut(planes: Float[np.ndarray, "k h w"]) -> Float[np.ndarray, "k h w"]:
        kept = planes * inside
        if labels.kind == "exclusive":
            kept[0][~inside] = 1
        return kept

    variance = maps.variance
    return replace(
        maps,
        labels=maps.labels * inside,
        probability=cut(maps.probability),
        uncertainty=maps.uncertainty * inside,
        prior=cut(maps.prior),
        prior_labels=maps.prior_labels * inside,
        variance=None if variance is None else variance * inside,
    )


def cut_to_view(maps: SliceMaps, image: Float[np.ndarray, "c h w"], labels: Labels) -> SliceMaps:
    """Make everything outside the lit view of a slice background without a doubt."""
    return cut_outside(maps, find_view(image), labels)


def normalise_planes(probability: Float[np.ndarray, "k h w"]) -> Float[np.ndarray, "k h w"]:
    """Return the probabilities of exclusive planes, which add up to 1."""
    total = probability.sum(axis=0, keepdims=True)
    return probability / total.clip(np.finfo(np.float32).tiny)


RULES = ("half", "expected_dice")


def entropy_bits(
    probability: Float[np.ndarray, "k h w"], labels: Labels
) -> Float[np.ndarray, "h w"] | Float[np.ndarray, "k h w"]:
    """Return the uncertainty of the class (exclusive) or of each plane (one class, regions)."""
    if labels.kind == "exclusive":
        return _information(probability).sum(axis=0)
    each = _information(probability) + _information(1 - probability)
    return each[0] if labels.kind == "one_class" else each


def _information(p: Float[np.ndarray, "k h w"]) -> Float[np.ndarray, "k h w"]:
    # 0 * log 0 is 0
    return (-p * np.log2(np.maximum(p, np.finfo(np.float32).tiny))).astype(np.float32)
