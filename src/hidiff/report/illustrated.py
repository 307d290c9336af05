"""The report of an evaluation with pictures of its worst, median and best cases.

It draws with matplotlib, so only who wants a report imports this file.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from hidiff.datasets import Case
from hidiff.evaluation.chosen import case_scores, choose_cases
from hidiff.evaluation.evaluate import Row, Truth, read_truth
from hidiff.evaluation.studies import CalibrationStudy, SizeStudy
from hidiff.images import Intensity, read_image
from hidiff.metrics import Summary
from hidiff.prediction.prediction import Prediction
from hidiff.prediction.predictor import Predictor
from hidiff.report.files import PICTURES
from hidiff.report.pictures import CasePicture, case_png, steps_png, write_png
from hidiff.report.report import write_report


def write_illustrated_report(
    folder: Path,
    rows: Sequence[Row],
    summary: Summary,
    predictor: Predictor,
    cases: Sequence[Case],
    *,
    title: str,
    facts: Mapping[str, str],
    notes: Sequence[str] = (),
    calibration: CalibrationStudy | None = None,
    sizes: SizeStudy | None = None,
    num_cases: int = 3,
    **changes: Any,
) -> Path:
    """Write report.html, and its pictures as PNG below pictures/; the report's path.

    The worst, median and best cases are predicted again, with the same `changes` and so the same
    result, rather than kept from the evaluation; every step is shown of the median one. Of several
    slices the one is shown that holds most of the classes.
    """
    chosen = choose_cases(rows, num_cases)
    roles = list(chosen.values())
    traced = list(chosen)[roles.index("median") if "median" in roles else 0]
    by_name = {case.name: case for case in cases}
    pictures, steps = [], None
    for name, role in chosen.items():
        trace = predictor.refines and name == traced
        case = by_name[name]
        truth = read_truth(case, predictor)
        number = fullest_slice(truth)
        prediction = predictor.predict(
            case.image, prior=case.prior, name=name, slice=number, trace=trace, **changes
        )
        picture = case_picture(case, truth, number, prediction, predictor, rows, role)
        pictures.append(picture)
        write_png(case_png(picture), folder / PICTURES / f"{role}_{name}.png")
        if trace:
            steps = prediction
    plane = predictor.labels.class_planes.start
    if steps is not None:
        write_png(steps_png(steps.trace, plane), folder / PICTURES / f"steps_{traced}.png")
    return write_report(
        folder,
        title=title,
        summary=summary,
        rows=rows,
        pictures=pictures,
        trace=steps.trace if steps else (),
        trace_plane=plane,
        trace_name=f"{predictor.labels.plane_names[plane]} of {traced}",
        facts=facts,
        notes=notes,
        curves=calibration.curves if calibration else None,
        bands=sizes.bands if sizes else (),
    )


def fullest_slice(truth: Truth) -> int:
    """Return the number of the slice where most voxels belong to a class; 0 of a picture."""
    counts = np.count_nonzero(truth.labels, axis=(-2, -1))
    depth = truth.inside.size // (truth.inside.shape[-1] * truth.inside.shape[-2])
    return int(counts.reshape(-1, depth).sum(axis=0).argmax())


def case_picture(
    case: Case,
    truth: Truth,
    number: int,
    prediction: Prediction,
    predictor: Predictor,
    rows: Sequence[Row],
    role: str,
) -> CasePicture:
    """Return all that a report shows of one slice of a case.

    Its scores are of the whole case: the mean Dice over the classes.
    """
    scores = case_scores(rows, "dice")[case.name]
    refined = "refined" in scores
    image = read_image(
        case.image, predictor.channels, predictor.slicing.plane, predictor.slicing.nan
    )
    labels, inside = (
        image.geometry.from_spatial(maps)[..., number, :, :]
        for maps in (truth.labels, truth.inside)
    )
    return CasePicture(
        name=image.geometry.slice_title(case.name, number),
        image=visible(image.slice(number), predictor.intensity),
        truth=labels,
        prior_labels=prediction.prior_labels,
        labels=prediction.labels,
        uncertainty=prediction.uncertainty,
        score=scores["refined" if refined else "prior"],
        prior_score=scores["prior"] if refined else None,
        role=role,
        inside=None if truth.inside.all() else inside,
        most_bits=prediction.most_bits,
    )


def visible(raw: Float[np.ndarray, "c h w"], intensity: Intensity) -> UInt8[np.ndarray, "h w 3"]:
    """Return raw values as a picture: colour as it is, of other channels the middle one in grey.

    Values without a fixed scale are stretched from their 0.5th to their 99.5th percentile.
    """
    planes = raw if len(raw) == 3 else raw[len(raw) // 2][None].repeat(3, axis=0)
    if intensity.kind == "unit":
        low, high = 0.0, intensity.full_scale
    else:
        low, high = np.percentile(planes, [0.5, 99.5])
    share = (planes - low) / max(high - low, 1e-6)
    return np.round(255 * share.clip(0, 1)).astype(np.uint8).transpose(1, 2, 0)
