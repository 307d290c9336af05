"""The recipes of the abdomen and of brain tumours, from the download's layout to judged masks."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

import hidiff
from hidiff import experiment
from hidiff.metrics.table import Row
from hidiff.prediction import Prediction
from hidiff.suites.judging import judge_model
from hidiff.suites.suite import Evaluation
from tests import official
from tests.cli.conftest import run_command
from tests.tiny import skip_counting

# What makes a recipe of hours run in seconds; all else is the recipe's own.
QUICK = {
    "data.size": [64, 64],
    "data.patch_size": [64, 64],
    "data.splitting.validation_cases": 2,
    "segmentor.name": "unet",
    "segmentor.options": {"width": 8},
    "refiner.width": 8,
    "training.batch_size": 2,
    "training.stage1_steps": 2,
    "training.stage2_steps": 2,
}
LAYOUTS = {"synapse": official.synapse, "brats": official.brats}


def first_brain(data: Path) -> tuple[Path, ...]:
    """Return the four sequences of a patient."""
    patient = "BraTS2021_00000"
    return tuple(
        data / patient / f"{patient}_{kind}.nii.gz" for kind in ("t1", "t1ce", "t2", "flair")
    )


FIRST = {
    "synapse": lambda data: (data / "test" / "images" / "case0001.nii.gz",),
    "brats": first_brain,
}


def judge_as_suites_do(file: Path) -> list[Row]:
    """Return the rows of a model's test cases, with calibration, which volumes have in suites."""
    model = experiment.open_model(file)
    cases = experiment.list_cases(model.recipe, "test")
    cpu = torch.device("cpu")
    return judge_model(model, model.recipe, Evaluation(), cases, None, cpu).rows


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_a_recipe_goes_from_the_download_to_judged_masks(name, tmp_path, monkeypatch):
    skip_counting(monkeypatch)
    LAYOUTS[name](tmp_path / "download")
    data = tmp_path / "download"
    if name == "synapse":
        data = tmp_path / "ready"
        prepared = run_command("data", "prepare", name, tmp_path / "download", "--output", data)
        assert prepared.exit_code == 0, prepared.output
    changes = {**QUICK, "data.path": str(data)}
    words = [
        word for key, value in changes.items() for word in ("--set", f"{key}={json.dumps(value)}")
    ]
    runs = tmp_path / "runs"
    made = run_command("train", name, *words, "--output", runs, "--device", "cpu")
    assert made.exit_code == 0, made.output

    judged = tmp_path / "judged"
    result = run_command("evaluate", runs / name, "--output", judged, "--device", "cpu")
    assert result.exit_code == 0, result.output
    model = hidiff.load(runs / name)
    with open(judged / "rows.csv", newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert {row["class"] for row in rows} == set(model.labels.class_names)
    assert {row["per"] for row in rows} == {"volume"}
    assert all(("hd95_voxels" in row) == (row["unit"] == "mm") for row in rows)
    of_suite = judge_as_suites_do(runs / name / "last.safetensors")
    assert [row["dice"] for row in of_suite] == [float(row["dice"]) for row in rows]
    assert all(0 <= row["brier"] <= 1 and 0 <= row["ece"] <= 1 for row in of_suite)

    image = FIRST[name](data)
    prediction = hidiff.segment(image, model, tmp_path / "masks", name="first")
    mask, first = nib.load(tmp_path / "masks" / "first.nii.gz"), nib.load(image[0])
    assert isinstance(prediction, Prediction)
    assert isinstance(mask, nib.Nifti1Image) and isinstance(first, nib.Nifti1Image)
    assert mask.shape == first.shape == prediction.labels.shape
    np.testing.assert_allclose(mask.affine, first.affine)
