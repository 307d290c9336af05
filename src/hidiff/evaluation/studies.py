"""Calibration, and small objects apart from large ones, beside the scores of whole masks.

Both gather case by case, so that no prediction has to be kept.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool

from hidiff.datasets import Case
from hidiff.evaluation.evaluate import Truth, judged_masks
from hidiff.labels import Labels
from hidiff.metrics import (
    Band,
    Reliability,
    Summary,
    band_rows,
    distance_unit,
    local_width,
    match_objects,
    object_metrics,
    reliability,
    size_unit,
    summarise,
    summarise_bands,
)
from hidiff.metrics.table import Row
from hidiff.prediction.prediction import Prediction

Mask = Bool[np.ndarray, "*space"]
Spacing = tuple[float, ...] | None
Numbers = dict[str, float]


@dataclass
class CalibrationStudy:
    """Reliability of the probabilities of each class: the prior's, a sample's, the mean's."""

    num_samples: int
    curves: dict[str, dict[str, Reliability]] = field(default_factory=dict)
    """class -> whose probability -> over all cases"""

    def add(self, prediction: Prediction, truth: Truth, labels: Labels, refined: bool) -> None:
        """Take a case in, unless its prediction kept no probabilities."""
        prior, mean = prediction.spatial("prior"), prediction.spatial("probability")
        if prior is None or mean is None:
            return
        said = {"prior": prior}
        if refined and prediction.trace:
            _, _, last = prediction.trace[-1]
            said["one sample"] = prediction.spatial_of(last)
        if refined:
            count = self.num_samples
            said["one sample" if count == 1 else f"mean of {count} samples"] = mean
        y0 = np.stack(list(labels.class_masks(truth.labels).values()))
        for source, probability in said.items():
            found = reliability(probability[labels.class_planes], y0, truth.inside)
            for name, curve in zip(labels.class_names, found, strict=True):
                known = self.curves.setdefault(name, {})
                known[source] = known[source] + curve if source in known else curve


def objects_apart(
    mask: Mask, truth: Mask, inside: Mask, spacing: Spacing
) -> tuple[list[Numbers], Numbers]:
    """Return each object of the truth, found or not; objects that share a pixel match."""
    objects = match_objects(mask, truth, inside=inside, spacing=spacing)
    columns = zip(objects.size.tolist(), objects.found, objects.dice, strict=True)
    things = [
        {"size": size, "count": 1, "object_recall": float(found), "object_dice": float(dice)}
        for size, found, dice in columns
    ]
    return things, object_metrics(objects)


def widths_apart(
    mask: Mask, truth: Mask, inside: Mask, spacing: Spacing
) -> tuple[list[Numbers], Numbers]:
    """Return the truth's pixels of each width, and the share of them that was found."""
    widths = local_width(truth & inside, spacing).round(3)[truth & inside]
    sizes, which, counts = np.unique(widths, return_inverse=True, return_counts=True)
    found = np.bincount(which, weights=mask[truth & inside], minlength=len(sizes)) / counts
    columns = zip(sizes.tolist(), counts.tolist(), found.tolist(), strict=True)
    return [{"size": s, "count": n, "sensitivity": share} for s, n, share in columns], {}


@dataclass(frozen=True)
class Kind:
    """A way to tell small from large."""

    apart: Callable[[Mask, Mask, Mask, Spacing], tuple[list[Numbers], Numbers]]
    """the truth's things with their sizes and metrics, and metrics of the case as a whole"""
    unit: Callable[[int, Spacing], str]
    counted: str


KINDS = {
    "objects": Kind(objects_apart, size_unit, "objects"),
    "calibre": Kind(widths_apart, distance_unit, "pixels"),
}


@dataclass
class SizeStudy:
    """The quality of masks by the size of the objects in them, measured as `kind` of KINDS says."""

    kind: str
    things: list[Row] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    """metrics of each case as a whole"""
    unit: str = ""

    def add(
        self,
        case: Case,
        prediction: Prediction,
        truth: Truth,
        labels: Labels,
        refined: bool,
    ) -> None:
        """Take a case in."""
        way = KINDS[self.kind]
        self.unit = way.unit(truth.inside.ndim, truth.spacing_mm)
        for row, mask, wanted in judged_masks(case, prediction, truth, labels):
            if refined or row["source"] == "prior":
                things, numbers = way.apart(mask, wanted, truth.inside, truth.spacing_mm)
                self.things += [{**row, **each} for each in things]
                self.rows.append({**row, **numbers})

    @property
    def band_rows(self) -> list[Row]:
        """Return one row for each case, class, source and band; empty if no case holds anything."""
        return [dict(row) for row in band_rows(self.things, self.unit)] if self.things else []

    @property
    def bands(self) -> list[Band]:
        return summarise_bands(self.band_rows)

    @property
    def summary(self) -> Summary | None:
        """Return the summary over whole cases; None for a kind without a metric of whole cases."""
        return summarise(self.rows) if self.kind == "objects" else None
