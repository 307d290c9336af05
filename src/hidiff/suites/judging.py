"""Judges one trained model on one evaluation: rows of its cases, and the time of a prediction."""

import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from hidiff import experiment, export
from hidiff.datasets import Case
from hidiff.diffusion import subset
from hidiff.evaluation import correct_cases, judge, read_truth
from hidiff.evaluation.evaluate import predict_case
from hidiff.evaluation.studies import SizeStudy
from hidiff.images import Image, read_image
from hidiff.metrics.table import Row
from hidiff.prediction import Predictor
from hidiff.recipe import Recipe
from hidiff.suites.corruptions import FULL, corrupt
from hidiff.suites.suite import Evaluation


@dataclass
class Judged:
    """The result of an evaluation."""

    rows: list[Row] = field(default_factory=list)
    bands: list[Row] = field(default_factory=list)
    """by size, where that was asked for"""
    corrections: list[Row] = field(default_factory=list)
    """after clicks, where that was asked for"""
    seconds: list[float] = field(default_factory=list)
    """seconds of each case's prediction, with reading its image"""

    @property
    def seconds_per_case(self) -> float:
        return statistics.median(self.seconds)


def judge_model(
    model: experiment.ModelFile,
    recipe: Recipe,
    evaluation: Evaluation,
    cases: list[Case],
    sizes: str | None,
    device: torch.device,
) -> Judged:
    """Predict and judge the cases as `recipe` says, in place of the model's own."""
    hybrid = experiment.load_hybrid(model)
    if evaluation.packed and model.refines:
        num_steps = recipe.diffusion.num_steps
        kept = subset(num_steps, recipe.prediction.steps_of(num_steps))
        hybrid.refiner, device = export.pack_refiner(hybrid.refiner, kept), torch.device("cpu")
    predictor = experiment.make_predictor(hybrid, recipe, device, model.refines)
    study = SizeStudy(sizes) if sizes else None
    found = Judged()
    for case in cases:
        truth = read_truth(case, predictor)
        with TemporaryDirectory() as scratch:
            started = time.monotonic()
            prediction = look_at(predictor, case, evaluation, Path(scratch))
            found.seconds.append(time.monotonic() - started)
            rows = judge(prediction, truth, case, predictor, tolerance=1.0)
        found.rows += [row for row in rows if model.refines or row["source"] == "prior"]
        if study:
            study.add(case, prediction, truth, predictor.labels, model.refines)
    if study:
        found.bands = study.band_rows
    if evaluation.corrections is not None:
        found.corrections = correct_cases(predictor, cases, evaluation.corrections)
    return found


def look_at(predictor: Predictor, case: Case, evaluation: Evaluation, scratch: Path):
    """Predict a case, as it is or corrupted slice by slice; probabilities lie below `scratch`."""
    kept: dict[str, Any] = {"keep_probability": True, "scratch": scratch}  # calibration needs them
    if evaluation.corruption is None:
        return predict_case(predictor, case, **kept)
    if predictor.intensity.kind != "unit":
        raise ValueError(
            f"{case.name}: corruptions are of images whose intensity is of kind unit. Leave "
            "them out for this recipe."
        )
    scale = FULL / predictor.intensity.full_scale
    raw = read_image(case.image, predictor.channels, predictor.slicing.plane, predictor.slicing.nan)
    slices = [
        corrupt(
            raw.slice(number) * scale,
            evaluation.corruption,
            evaluation.strength,
            raw.geometry.slice_key(case.name, number),
        )
        for number in range(raw.geometry.shape[0])
    ]
    image = Image(np.stack(slices, axis=1) / scale, raw.geometry)
    return predictor.predict(image, prior=case.prior, name=case.name, **kept)
