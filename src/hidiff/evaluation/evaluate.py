"""Judges prior and refined masks side by side, case by case."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hidiff.datasets import Case
from hidiff.images import first_file, is_volume, read_field_of_view, read_grid
from hidiff.labels import Labels
from hidiff.loading import load_case, load_volume_mask
from hidiff.metrics import brier_score, case_metrics, distance_unit, expected_calibration_error
from hidiff.metrics.table import Row
from hidiff.prediction.prediction import LabelMap, Prediction
from hidiff.prediction.predictor import Predictor
from hidiff.prediction.volume import VolumeLabels, VolumePrediction


@dataclass(frozen=True)
class Truth:
    """What a case holds beside its image, of the image's own size."""

    labels: LabelMap | VolumeLabels
    """of several raters what at least half say (data.most_raters)"""
    inside: np.ndarray
    """field of view (h, w), or (d, h, w); boolean, all true where the set has none"""
    spacing_mm: tuple[float, ...] | None = None
    """of volumes: between slices, rows, columns; None where it is not known"""
    raters: tuple[LabelMap, ...] = ()
    """what each says, where several looked"""


def read_truth(case: Case, predictor: Predictor) -> Truth:
    """The case's mask as labels, and its field of view. Raises DataError for what does not fit."""
    if is_volume(case.image):
        return _read_volume_truth(case, predictor)
    item = load_case(case, predictor.labels, predictor.channels, predictor.intensity)
    decode = predictor.labels.decode
    raters = tuple(decode(each) for each in item["raters"].numpy()) if "raters" in item else ()
    return Truth(
        decode(item["y0"].numpy()), item["field_of_view"][0].numpy().astype(bool), raters=raters
    )


def _read_volume_truth(case: Case, predictor: Predictor) -> Truth:
    grid, plane = read_grid(first_file(case.image)), predictor.slicing.plane
    y0 = load_volume_mask(case, grid, predictor.labels, plane).numpy()
    spacing = grid.slice_spacing_mm(plane) if case.has_spacing else None
    return Truth(predictor.labels.decode(y0), np.ones(y0.shape[1:], dtype=bool), spacing)


def predict_case(
    predictor: Predictor, case: Case, *, refine: bool | None = None, **changes: Any
) -> Prediction | VolumePrediction:
    """Predict a case's picture, or its volume; `changes` are PredictionSettings."""
    if is_volume(case.image):
        return predictor.predict_volume(case.image, name=case.name, refine=refine, **changes)
    return predictor.predict(case.image, prior=case.prior, name=case.name, refine=refine, **changes)


def judge(
    prediction: Prediction | VolumePrediction,
    truth: Truth,
    case: Case,
    predictor: Predictor,
    tolerance: float,
) -> list[Row]:
    """Rows of one case: each class, prior and refined; `tolerance` in mm, or in pixels.

    Calibration is measured where the prediction kept its probabilities.
    """
    rows = []
    calibration = {
        "prior": calibration_of(prediction.prior, truth, predictor.labels),
        "refined": calibration_of(prediction.probability, truth, predictor.labels),
    }
    for row, mask, wanted in judged_masks(case, prediction, truth, predictor.labels):
        numbers = case_metrics(
            mask, wanted, inside=truth.inside, spacing=truth.spacing_mm, tolerance=tolerance
        )
        rows.append({**row, **numbers, **calibration[row["source"]].get(row["class"], {})})
    return rows


def judged_masks(
    case: Case, prediction: Prediction | VolumePrediction, truth: Truth, labels: Labels
) -> Iterator[tuple[Row, np.ndarray, np.ndarray]]:
    """The beginning of each row of a case, the mask it judges, and what that should be."""
    num_axes = truth.inside.ndim
    scale = {
        "per": "image" if num_axes == 2 else "volume",
        "unit": distance_unit(num_axes, truth.spacing_mm),
    }
    wanted = labels.class_masks(truth.labels)
    for source, found in (("prior", prediction.prior_labels), ("refined", prediction.labels)):
        for name, mask in labels.class_masks(found).items():
            row = {"case": case.name, "group": case.group, "class": name, "source": source}
            yield {**row, **scale}, mask, wanted[name]


def calibration_of(
    probability: np.ndarray | None, truth: Truth, labels: Labels
) -> dict[str, dict[str, float]]:
    """Class -> metrics of CALIBRATION; empty without probabilities."""
    if probability is None:
        return {}
    y0 = np.stack(list(labels.class_masks(truth.labels).values()))
    planes = probability[labels.class_planes], y0, truth.inside
    numbers = zip(brier_score(*planes), expected_calibration_error(*planes), strict=True)
    return {
        name: {"brier": float(brier), "ece": float(ece)}
        for name, (brier, ece) in zip(labels.class_names, numbers, strict=True)
    }


def mean_uncertainty(prediction: Prediction | VolumePrediction, case: Case) -> float:
    """Bits a pixel, inside the field of view where there is one."""
    uncertainty = prediction.uncertainty
    if case.field_of_view is None:
        return float(uncertainty.mean(dtype=np.float64))
    inside = read_field_of_view(case.field_of_view)[0] > 0
    return float(uncertainty[..., inside].mean())


def evaluate(
    predictor: Predictor,
    cases: Sequence[Case],
    *,
    refine: bool | None = None,
    tolerance: float = 1.0,
    done: Callable[[Case, Prediction | VolumePrediction, Truth, list[Row]], None] | None = None,
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
