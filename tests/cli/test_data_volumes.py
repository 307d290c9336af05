"""`hidiff data check` of volumes: what they hold, and every way that one can be wrong."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from tests.nnunet_sets import LABELS, blocks, write, write_nnunet

SHAPE = (20, 16, 3)


@pytest.fixture
def check(tmp_path):
    """The report on a folder, as the command makes it."""
    from hidiff.cli.data import look_at

    return lambda folder, changes=(): look_at(folder, list(changes))


@pytest.fixture
def root(tmp_path):
    """Ten cases on 1.5 x 1.5 x 8 mm."""
    return write_nnunet(tmp_path / "Dataset001_Heart", shapes=(SHAPE,) * 10)


def told(report, level):
    return {finding.text: finding.files for finding in report.findings if finding.level == level}


def test_a_good_set_is_go_and_counted(check, root):
    report = check(root)
    assert report.go and not report.findings
    assert report.cases == {"train": 7, "validation": 1, "test": 2}
    assert report.sizes == {"20x16x3": 10}
    assert report.spacings == {"1.5x1.5x8 mm": 10}
    assert (report.channels, report.types, report.mask_types) == (
        {1: 10},
        {"int16": 10},
        {"uint8": 10},
    )
    shares = {each.value: each.share for each in report.values}
    assert shares == {value: pytest.approx((blocks(SHAPE) == value).mean()) for value in range(3)}
    assert report.reading == "0 is background; 1 is wall; 2 is blood"
    assert json.loads(json.dumps(report.as_json()))["spacings"] == {"1.5x1.5x8 mm": 10}


def test_every_bad_volume_is_named_at_once(check, root):
    images, masks, affine = root / "imagesTr", root / "labelsTr", np.diag([1.5, 1.5, 8, 1])
    (images / "p0_0000.nii.gz").write_bytes(b"cut off")
    write(np.ones((20, 16, 2), np.uint8), affine, masks / "p1.nii.gz")
    write(np.full(SHAPE, 9, np.uint8), affine, masks / "p2.nii.gz")
    write(np.full(SHAPE, 0.5, np.float32), affine, masks / "p3.nii.gz")
    write(np.full(SHAPE, np.nan, np.float32), affine, images / "p4_0000.nii.gz")
    write(np.ones((*SHAPE, 2), np.int16), affine, images / "p5_0000.nii.gz")
    write(np.ones((*SHAPE, 2), np.uint8), affine, masks / "p6.nii.gz")
    report = check(root)
    assert not report.go
    stops = {files: text for text, files in told(report, "stop").items()}
    assert "cannot be read" in stops[("p0_0000.nii.gz",)]
    assert "another grid" in stops[("p1.nii.gz",)]
    assert "holds the values 9" in stops[("p2.nii.gz",)] and "p2.nii.gz" in stops[("p2.nii.gz",)]
    assert "fractions" in stops[("p3.nii.gz",)]
    assert "NaN" in stops[("p4_0000.nii.gz",)]
    assert "2 channels came, but 1" in stops[("p5_0000.nii.gz",)]
    assert "4-D" in stops[("p6.nii.gz",)]
    assert len(stops) == 7


def test_the_same_volume_in_two_splits_is_no_go(check, root):
    for name in ("images", "labels"):
        (root / f"{name}Ts").mkdir()
    shutil.copy(root / "imagesTr" / "p0_0000.nii.gz", root / "imagesTs" / "q0_0000.nii.gz")
    shutil.copy(root / "labelsTr" / "p0.nii.gz", root / "labelsTs" / "q0.nii.gz")
    ((text, files),) = told(check(root), "stop").items()
    assert "two splits" in text
    assert files[1] == "test: q0_0000.nii.gz"


def test_a_missing_modality_is_said_once(check, root):
    content = json.loads((root / "dataset.json").read_text())
    content["channel_names"]["1"] = "T2"
    (root / "dataset.json").write_text(json.dumps(content))
    report = check(root)
    assert not report.go
    assert sum("Add the missing modalities" in text for text in told(report, "stop")) == 1


def test_test_cases_that_do_not_hold_are_no_go(check, root):
    """Training lists them before it begins."""
    write_nnunet(root, part="Ts", shapes=(SHAPE,) * 2)
    (root / "labelsTs" / "q1.nii.gz").unlink()
    report = check(root)
    assert not report.go
    (text,) = told(report, "stop")
    assert "q1.nii.gz is not there" in text


def test_voxels_of_several_sizes_are_a_note(check, root):
    for folder, name in (("imagesTr", "p0_0000"), ("labelsTr", "p0")):
        file = root / folder / f"{name}.nii.gz"
        write(np.asarray(nib.load(file).dataobj), np.diag([1, 1, 8, 1]), file)
    report = check(root)
    assert report.go
    assert report.spacings == {"1.5x1.5x8 mm": 9, "1x1x8 mm": 1}
    assert "data.spacing_mm" in next(iter(told(report, "note")))


def test_an_unreadable_dataset_json_is_no_go(check, root):
    (root / "dataset.json").write_text("{")
    report = check(root)
    assert any("dataset.json" in text for text in told(report, "stop"))


def test_a_folder_of_volumes_tells_what_its_values_would_be(check, tmp_path, root):
    (tmp_path / "mine").mkdir()
    shutil.copytree(root / "labelsTr", tmp_path / "mine" / "masks")
    (tmp_path / "mine" / "images").mkdir()
    for file in (root / "imagesTr").iterdir():
        shutil.copy(file, tmp_path / "mine" / "images" / file.name.replace("_0000", ""))
    report = check(tmp_path / "mine")
    assert report.go and report.spacings == {"1.5x1.5x8 mm": 10}
    assert "class_1: [1], class_2: [2]" in report.reading


def test_the_masks_of_several_raters_are_read(check, tmp_path, root):
    mine = tmp_path / "mine"
    shutil.copytree(root / "labelsTr", mine / "masks" / "anna")
    shutil.copytree(root / "labelsTr", mine / "masks" / "ben")
    shutil.copytree(root / "labelsTr", mine / "images")
    report = check(mine)
    assert not [text for text in told(report, "stop") if "rater" in text]
    assert sum(report.mask_types.values()) == 20  # two of each of ten images


def test_the_decathlons_layout_is_known(check, root):
    names = [f"p{number}" for number in range(10)]
    content = {
        "modality": {"0": "MRI"},
        "labels": {str(value): name for name, value in LABELS.items()},
        "training": [
            {"image": f"imagesTr/{n}_0000.nii.gz", "label": f"labelsTr/{n}.nii.gz"} for n in names
        ],
    }
    (root / "dataset.json").write_text(json.dumps(content))
    report = check(root)
    assert report.go and sum(report.cases.values()) == 10


def test_the_command_shows_voxels_and_ends_with_go(root):
    from typer.testing import CliRunner

    from hidiff.cli import app

    result = CliRunner().invoke(app, ["data", "check", str(root)])
    assert result.exit_code == 0, result.output
    assert "1.5x1.5x8 mm (10)" in result.stdout
    assert result.stdout.splitlines()[-1] == "go"
