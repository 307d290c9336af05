"""Judges prior and refined masks side by side, case by case."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from hidiff.datasets import Case
from hidiff.labels import Labels
from hidiff.loading import CaseFiles, counts_some, most_raters
from hidiff.metrics import brier_score, case_metrics, distance_unit, expected_calibration_error
from hidiff.metrics.table import Row
from hidiff.prediction.prediction import LabelMap, Prediction
from hidiff.prediction.predictor import Predictor

VolumeLabels = UInt8[np.ndarray, "d h w"] | UInt8[np.ndarray, "k d h w"]


@dataclass(frozen=True)
class Truth:
    """The ground truth of a case, at the size of its image, as metrics count it.

    Maps of a picture have the axes (h, w), those of a volume (d, h, w).
    """

    labels: LabelMap | VolumeLabels
    """the truth; of several raters the pixels that at least half marked (loading.most_raters)"""
    inside: np.ndarray
    """the pixels that count, boolean: in the field of view, and with a label that is not ignored"""
    noun: str = "image"
    """the thing that a row of results stands for: image or volume"""
    spacing_mm: tuple[float, ...] | None = None
    """between slices, rows, columns; None where it is not known"""
    raters: tuple[LabelMap | VolumeLabels, ...] = ()
    """the marks of each rater, if there are several"""


def read_truth(case: Case, predictor: Predictor) -> Truth:
    """Return the case's mask as labels, and the pixels that count.

    Raises DataError for a file that does not fit.
    """
    files = CaseFiles(case, predictor.reading)
    decode, geometry, masks = predictor.labels.decode, files.geometry, files.raters
    inside = np.ones((1, *geometry.shape), dtype=bool)
    if counts_some(case, predictor.labels):
        inside = files.field_of_view.numpy()
    several = masks if len(masks) > 1 else ()
    return Truth(
        geometry.spatial(decode(most_raters(masks, predictor.labels).numpy())),
        geometry.spatial(inside[0]),
        geometry.noun,
        geometry.spacing_mm if case.has_spacing else None,
        tuple(geometry.spatial(decode(mask.numpy())) for mask in several),
    )


def predict_case(
    predictor: Predictor, case: Case, *, refine: bool | None = None, **changes: Any
) -> Prediction:
    """Predict a case's image, with its prior if it has one; `changes` are PredictionSettings."""
    return predictor.predict(case.image, prior=case.prior, name=case.name, refine=refine, **changes)


def judge(
    prediction: Prediction,
    truth: Truth,
    case: Case,
    predictor: Predictor,
    tolerance: float,
) -> list[Row]:
    """Return the rows of one case: each class, prior and refined.

    `tolerance` is in mm, or in pixels where the spacing is not known.

    Calibration is measured where the prediction kept its probabilities.
    """
    rows = []
    calibration = {
        "prior": calibration_of(prediction.spatial("prior"), truth, predictor.labels),
        "refined": calibration_of(prediction.spatial("probability"), truth, predictor.labels),
    }
    for row, mask, wanted in judged_masks(case, prediction, truth, predictor.labels):
        numbers = case_metrics(
            mask, wanted, inside=truth.inside, spacing=truth.spacing_mm, tolerance=tolerance
        )
        rows.append({**row, **numbers, **calibration[row["source"]].get(row["class"], {})})
    return rows


def judged_masks(
    case: Case, prediction: Prediction, truth: Truth, labels: Labels
) -> Iterator[tuple[Row, np.ndarray, np.ndarray]]:
    """Yield the beginning of each row of a case, the mask it judges, and the true mask."""
    unit = distance_unit(truth.inside.ndim, truth.spacing_mm)
    wanted = labels.class_masks(truth.labels)
    for source, maps in (("prior", "prior_labels"), ("refined", "labels")):
        predicted = prediction.spatial(maps)
        assert predicted is not None
        for name, mask in labels.class_masks(predicted).items():
            row = {"case": case.name, "group": case.group, "class": name, "source": source}
            yield {**row, "per": truth.noun, "unit": unit}, mask, wanted[name]


def calibration_of(
    probability: np.ndarray | None, truth: Truth, labels: Labels
) -> dict[str, dict[str, float]]:
    """Return metrics of CALIBRATION by class; none without probabilities."""
    if probability is None:
        return {}
    y0 = np.stack(list(labels.class_masks(truth.labels).values()))
    planes = probability[labels.class_planes], y0, truth.inside
    numbers = zip(brier_score(*planes), expected_calibration_error(*planes), strict=True)
    return {
        name: {"brier": float(brier), "ece": float(ece)}
        for name, (brier, ece) in zip(labels.class_names, numbers, strict=True)
    }


def evaluate(
    predictor: Predictor,
    cases: Sequence[Case],
    *,
    refine: bool | None = None,
    tolerance: float = 1.0,
    done: Callable[[Case, Prediction, Truth, list[Row]], None] | None = None,
    **changes: Any,
) -> list[Row]:
    """Predict and judge every case; `changes` are PredictionSettings.

    Returns rows for metrics.summarise. `done` is told of each case as it ends. Without `refine`
    (left out: as the model was trained) only the rows of the prior come.
    """
    refine = predictor.refines if refine is None else refine
    rows: list[Row] = []
    for case in cases:
        truth = read_truth(case, predictor)
        prediction = predict_case(predictor, case, refine=refine, **changes)
        found = judge(prediction, truth, case, predictor, tolerance)
        if not refine:
            found = [row for row in found if row["source"] == "prior"]
        rows.extend(found)
        if done:
            done(case, prediction, truth, found)
    return rows
