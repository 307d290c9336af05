"""Check and plan take the names of classes from segmentations of 3D Slicer."""

import numpy as np
import pytest

pytest.importorskip("nrrd", reason="the extra formats is not installed")

from hidiff.cli.data import look_at as check_folder
from hidiff.datasets import Splitting
from hidiff.images import DataError
from hidiff.plan import look_at as plan_folder
from tests.images.test_units_and_axes import write_segmentation
from tests.volumes import make_grid, write_nifti

GRID = make_grid(16, 16, 4)
MASK = np.resize(np.array([0, 0, 1, 2], np.uint8), GRID.shape)
NAMES = [("left kidney", 0, 1), ("Liver", 0, 2)]


def write_folder(root, segments, mask=MASK):
    """Write a case for each list of segments."""
    draws = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number, of_case in enumerate(segments):
        image = draws.integers(0, 255, GRID.shape).astype(np.int16)
        write_nifti(root / "images" / f"c-{number}.nii.gz", image, GRID)
        write_segmentation(root / "masks" / f"c-{number}.seg.nrrd", mask, of_case, GRID)
    return root


def texts(report, level):
    return " ".join(finding.text for finding in report.findings if finding.level == level)


def test_segments_name_the_classes_of_plan_and_check(tmp_path):
    root = write_folder(tmp_path / "a", [NAMES] * 6)
    labels = plan_folder(root, Splitting()).recipe.labels
    assert labels.classes == {"left_kidney": (1,), "Liver": (2,)}
    assert "left_kidney: [1], Liver: [2]" in check_folder(root, []).reading


def test_one_segment_names_the_only_class(tmp_path):
    root = write_folder(tmp_path / "a", [[("tumour", 0, 1)]] * 6, MASK % 2)
    labels = plan_folder(root, Splitting()).recipe.labels
    assert labels.kind == "one_class" and labels.classes == {"tumour": (1,)}


@pytest.mark.parametrize("other", ["background", "mean", "left kidney", ""])
def test_names_that_no_class_may_have_give_way(tmp_path, other):
    root = write_folder(tmp_path / "a", [[("left kidney", 0, 1), (other, 0, 2)]] * 6)
    labels = plan_folder(root, Splitting()).recipe.labels
    assert list(labels.classes.values()) == [(1,), (2,)]
    assert other not in labels.classes and len(labels.classes) == 2


def test_a_value_of_two_names_stops_plan_check_and_recipe(tmp_path):
    """3D Slicer numbers segments by the order in which they were made."""
    swapped = [("Liver", 0, 1), ("left kidney", 0, 2)]
    root = write_folder(tmp_path / "a", [NAMES] * 5 + [swapped])
    said = "1 is left kidney in some files, but Liver in c-5.seg.nrrd"
    with pytest.raises(DataError, match=said):
        plan_folder(root, Splitting())
    assert said in texts(check_folder(root, []), "stop")
    known = ["labels.classes={left_kidney: [1], liver: [2]}"]
    assert said in texts(check_folder(root, known), "stop")


def test_a_recipe_that_exchanges_two_classes_is_told(tmp_path):
    root = write_folder(tmp_path / "a", [NAMES] * 6)
    right = ["labels.classes={left_kidney: [1], liver: [2]}"]
    assert "is called" not in texts(check_folder(root, right), "warning")
    wrong = ["labels.classes={liver: [1], left_kidney: [2]}"]
    said = texts(check_folder(root, wrong), "warning")
    assert "the value 1 is called left kidney in the masks' files, but liver in the recipe" in said
