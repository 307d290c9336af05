"""Masks of volumes before nnU-Net's own evaluator: it takes them, and its Dice is ours."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from hidiff.datasets.sets.nnunet import list_nnunet
from hidiff.evaluation import evaluate
from hidiff.prediction.writers import write_prediction
from tests.volumes import LABELS, Echo, make_grid, make_mask, write_nifti

pytestmark = pytest.mark.skipif(find_spec("nnunetv2") is None, reason="nnunetv2 is not installed")

GRIDS = [make_grid(12, 10, 4), make_grid(9, 14, 1), make_grid(8, 8, 3)]
# The command nnUNetv2_evaluate_folder, which need not be on the path.
JUDGE = """
from nnunetv2.evaluation.evaluate_predictions import evaluate_folder_entry_point
evaluate_folder_entry_point()
"""
PLANS = {"plans_name": "nnUNetPlans", "image_reader_writer": "NibabelIO", "configurations": {}}


def write_set(root, kind):
    """Images that the Echo answers with themselves, and truths that differ from them."""
    classes = {name: list(values) for name, values in LABELS[kind].classes.items()}
    if kind == "exclusive":
        classes = {name: value for name, (value,) in classes.items()}
    content = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, **classes},
        "file_ending": ".nii.gz",
        **({"regions_class_order": [2, 1, 4]} if kind == "regions" else {}),
    }
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    (root / "dataset.json").write_text(json.dumps(content))
    (root / "plans.json").write_text(json.dumps(PLANS))
    for number, grid in enumerate(GRIDS):
        seen, truth = make_mask(grid, kind, seed=number), make_mask(grid, kind, seed=9 + number)
        write_nifti(root / "imagesTr" / f"p{number}_0000.nii.gz", seen, grid)
        write_nifti(root / "labelsTr" / f"p{number}.nii.gz", truth, grid)
    return root


@pytest.mark.parametrize("kind", ["exclusive", "regions"])
def test_nnunets_dice_of_our_files_is_ours(tmp_path, kind):
    root, masks, echo = write_set(tmp_path / "set", kind), tmp_path / "masks", Echo(kind)
    cases = list_nnunet(root, "Tr")
    for case in cases:
        prediction = echo.predict(case.image, name=case.name)
        write_prediction(prediction, masks, stem=case.name)
    words = [root / "labelsTr", masks, "-djfile", root / "dataset.json"]
    words += ["-pfile", root / "plans.json", "-o", tmp_path / "summary.json", "-np", "1"]
    subprocess.run([sys.executable, "-c", JUDGE, *map(str, words)], check=True, timeout=3600)
    summary = json.loads((tmp_path / "summary.json").read_text())

    names = {values: name for name, values in echo.labels.classes.items()}
    theirs = {
        (
            each["prediction_file"].rpartition("/")[2].removesuffix(".nii.gz"),
            names[values_of(key)],
        ): numbers["Dice"]
        for each in summary["metric_per_case"]
        for key, numbers in each["metrics"].items()
    }
    rows = [row for row in evaluate(echo, cases) if row["source"] == "refined"]
    assert theirs == {(row["case"], row["class"]): pytest.approx(row["dice"]) for row in rows}
    assert len(theirs) == len(GRIDS) * len(names)


def values_of(key):
    """(1, 2, 4) of "(1, 2, 4)", (1,) of "1"."""
    return tuple(int(value) for value in key.strip("()").split(",") if value)
