"""A data set's faults, made on purpose, are all found; a good one is go."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from hidiff.datasets import Splitting, load_split, write_synthetic
from hidiff.images import Intensity
from hidiff.inspection.check import check_cases
from hidiff.inspection.share_out import share_out_folder
from hidiff.labels import Labels

CURVE = Labels(kind="one_class", classes={"curve": (1,)})


@pytest.fixture
def folder(tmp_path):
    write_synthetic(tmp_path / "data", num_cases=10, size=32)
    return tmp_path / "data"


def save(pixels, path):
    Image.fromarray(pixels).save(path)


def check(folder, **known):
    splits, findings = share_out_folder(folder, Splitting())
    report = check_cases(str(folder), splits, **known)
    report.findings[:0] = findings
    return report


def told(report, level):
    return [finding for finding in report.findings if finding.level == level]


def test_a_good_folder_is_go_and_counted(folder):
    report = check(folder, labels=CURVE, channels=3, intensity=Intensity())
    assert report.go and not report.findings
    assert report.cases == report.groups == {"train": 6, "validation": 2, "test": 2}
    assert report.sizes == {"32x32": 10}
    assert report.channels == {3: 10}
    assert report.types == report.mask_types == {"uint8": 10}
    assert report.reading == "10 masks at their word: 1 is curve"
    masks = [np.asarray(Image.open(file)) for file in (folder / "masks").iterdir()]
    shares = {each.value: each.share for each in report.values}
    assert shares[1] == pytest.approx(np.mean(masks))
    assert sum(shares.values()) == pytest.approx(1)
    assert json.loads(json.dumps(report.as_json()))["go"] is True


def test_what_it_lists_is_what_training_lists(folder):
    splits, _ = share_out_folder(folder, Splitting())
    for split, cases in splits.items():
        assert cases == load_split("folder", folder, split)


def test_every_bad_thing_is_named_at_once(folder):
    (folder / "masks" / "case-000.png").unlink()
    (folder / "images" / "case-001.png").write_bytes(b"cut off")
    save(np.ones((9, 7), np.uint8), folder / "masks" / "case-002.png")
    save(np.full((32, 32), 7, np.uint8), folder / "masks" / "case-003.png")
    save(np.zeros((32, 32), np.uint8), folder / "masks" / "case-004.png")
    shutil.copy(folder / "images" / "case-005.png", folder / "images" / "case-009.png")
    (folder / "images" / "notes.txt").write_text("hello")
    labels = Labels(kind="exclusive", classes={"curve": (1,), "never": (2,)})
    report = check(folder, labels=labels, channels=3)
    assert not report.go
    stops = {finding.files: finding.text for finding in told(report, "stop")}
    assert "no partner" in stops[("case-000.png",)]
    assert "case-001.png cannot be read" in stops[("case-001.png",)]
    assert "9x7" in stops[("case-002.png",)] and "32x32" in stops[("case-002.png",)]
    assert "holds the values 7" in stops[("case-003.png",)]
    assert "two splits" in stops[("train: case-005.png", "test: case-009.png")]
    assert len(stops) == 5
    assert told(report, "note")[0].files == ("case-004.png",)
    warnings = " ".join(finding.text for finding in told(report, "warning"))
    assert "1 files of images/ are of no known kind" in warnings
    assert "the class never is in no mask" in warnings


def test_the_same_picture_in_another_format_is_the_same_image(folder):
    with Image.open(folder / "images" / "case-000.png") as picture:
        picture.save(folder / "images" / "case-008.tif")
    (folder / "images" / "case-008.png").unlink()
    (text,) = (finding.text for finding in told(check(folder), "stop"))
    assert "two splits" in text


def test_an_image_twice_in_one_split_is_a_warning(folder):
    shutil.copy(folder / "images" / "case-000.png", folder / "images" / "case-001.png")
    report = check(folder)
    assert report.go
    assert told(report, "warning")[0].files == ("train: case-000.png", "train: case-001.png")


def test_a_folder_without_images_is_no_go(tmp_path):
    report = check(tmp_path)
    assert not report.go
    assert "no folder at" in report.findings[0].text


def test_lists_that_are_wrong_are_told_and_the_files_still_looked_at(folder):
    (folder / "train.txt").write_text("case-000\ngone\n")
    report = check(folder)
    assert "lists 'gone'" in told(report, "stop")[0].text
    assert report.cases == {"all": 10}


def test_a_split_drawn_anew_is_looked_at_as_such(folder):
    splitting = Splitting(redraw=True, fractions=(0, 0, 1))
    splits, _ = share_out_folder(folder, splitting)
    assert {split: len(cases) for split, cases in splits.items()} == {
        "train": 0, "validation": 0, "test": 10,
    }  # fmt: skip
    assert splits["test"] == load_split("folder", folder, "test", splitting=splitting)


def test_cases_in_no_list_are_told(folder):
    (folder / "train.txt").write_text("case-000\ncase-001\n")
    assert "4 cases are in none of the lists" in told(check(folder), "warning")[0].text


def test_16_bits_against_a_full_scale_of_255_is_no_go_and_unasked_a_note(folder):
    deep = np.full((32, 32), 40000, np.uint16)
    save(deep, folder / "images" / "case-000.png")
    assert "full_scale: 65535" in told(check(folder), "note")[0].text
    stop = told(check(folder, channels=3, intensity=Intensity()), "stop")[0]
    assert stop.files == ("case-000.png",) and "full_scale 65535" in stop.text


def test_channels_that_cannot_be_matched_are_no_go(folder):
    (folder / "images" / "case-000.png").unlink()
    np.save(folder / "images" / "case-000.npy", np.zeros((5, 32, 32), np.uint8))
    assert "[3, 5] channels: set data.channels to 3" in told(check(folder), "stop")[0].text
    assert "5 channels, but 3" in told(check(folder, channels=3), "stop")[0].text


def test_masks_without_anything_are_no_go(folder):
    for file in (folder / "masks").iterdir():
        save(np.zeros((32, 32), np.uint8), file)
    assert "every mask is empty" in told(check(folder), "stop")[0].text


# What the masks' values will be taken for


def paint(folder, masks):
    for file, mask in zip(sorted((folder / "masks").iterdir()), masks, strict=False):
        save(mask.astype(np.uint8), file)


def test_0_255_beside_0_1_is_read_right_and_said(folder):
    bits = np.eye(32)
    paint(folder, [255 * bits] * 4)
    assert "masks of 0/1 and of 0/255 are read in the same way" in check(folder).reading
    known = check(folder, labels=CURVE)
    assert known.reading == "6 masks at their word: 1 is curve; 4 masks cut: above 127.5 is curve"
    assert known.go


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0, 255], "255 one class: kind: one_class, classes: {object: [255]}"),
        ([0, 1, 2], "kind: exclusive, classes: {class_1: [1], class_2: [2]}"),
        (range(100), "class_98: [98], class_99: [99]"),
        ([0] * 40 + [1, 2, 3, 252, 253, 254] + [255] * 9, "the noise of JPEG: kind: one_class"),
    ],
)
def test_of_unknown_classes_it_proposes_what_to_write(folder, values, said):
    paint(folder, [np.resize(np.array(values), (32, 32))] * 10)
    assert said in check(folder).reading
