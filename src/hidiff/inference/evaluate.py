"""Judges prior and refined masks side by side, case by case."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hidiff.data import Case, load_case, read_field_of_view
from hidiff.inference.prediction import LabelMap, Prediction
from hidiff.inference.predictor import Predictor
from hidiff.metrics import case_metrics

Row = dict[str, Any]


@dataclass(frozen=True)
class Truth:
    """What a case holds beside its image, of the image's own size."""

    labels: LabelMap
    inside: np.ndarray
    """field of view (h, w), boolean; all true where the set has none"""


def read_truth(case: Case, predictor: Predictor) -> Truth:
    """The case's mask as labels, and its field of view. Raises DataError for what does not fit."""
    item = load_case(case, predictor.labels, predictor.channels, predictor.intensity)
    labels = predictor.labels.decode(item["y0"].numpy().astype(np.float32))
    return Truth(labels, item["field_of_view"][0].numpy().astype(bool))


def judge(
    prediction: Prediction, truth: Truth, case: Case, predictor: Predictor, tolerance: float
) -> list[Row]:
    """Rows of one case: each class, prior and refined; `tolerance` in pixels."""
    rows = []
    for source, found in (("prior", prediction.prior_labels), ("refined", prediction.labels)):
        masks = predictor.labels.class_masks(found)
        wanted = predictor.labels.class_masks(truth.labels)
        for name, mask in masks.items():
            numbers = case_metrics(mask, wanted[name], inside=truth.inside, tolerance=tolerance)
            row = {"case": case.name, "group": case.group, "class": name, "source": source}
            rows.append({**row, **numbers})
    return rows


def mean_uncertainty(prediction: Prediction, case: Case) -> float:
    """Bits a pixel, inside the field of view where there is one."""
    uncertainty = prediction.uncertainty
    if case.field_of_view is None:
        return float(uncertainty.mean())
    inside = read_field_of_view(case.field_of_view)[0] > 0
    return float(uncertainty[..., inside].mean())


def evaluate(
    predictor: Predictor,
    cases: Sequence[Case],
    *,
    refine: bool | None = None,
    tolerance: float = 1.0,
    done: Callable[[Case, Prediction, list[Row]], None] | None = None,
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
        prediction = predictor.predict(str(case.image), name=case.name, refine=refine, **changes)
        found = judge(prediction, truth, case, predictor, tolerance)
        if not refine:
            found = [row for row in found if row["source"] == "prior"]
        rows.extend(found)
        if done:
            done(case, prediction, found)
    return rows
