"""nnU-Net's raw layout: who is listed, in which channels, and what is refused by name."""

import json

import numpy as np
import pytest
from PIL import Image

from hidiff.datasets import Splitting, load_split
from hidiff.datasets.sets.nnunet import is_nnunet, list_nnunet, read_dataset
from hidiff.datasets.splits import SPLITS
from hidiff.images import DataError
from tests.nnunet_sets import LABELS, write_nnunet


def change(root, **changes):
    """Other entries in dataset.json; None takes one out."""
    file = root / "dataset.json"
    content = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: each for key, each in content.items() if each is not None}))


def test_a_case_has_its_channels_in_order_and_its_mask(tmp_path):
    root = write_nnunet(tmp_path, channels=("T1", "T2"))
    case = list_nnunet(root, "Tr")[0]
    assert [file.name for file in case.image] == ["p0_0000.nii.gz", "p0_0001.nii.gz"]
    assert case.mask == root / "labelsTr" / "p0.nii.gz"
    assert is_nnunet(root) and read_dataset(root).channel_names == ("T1", "T2")


def test_one_channel_is_one_file(tmp_path):
    assert list_nnunet(write_nnunet(tmp_path), "Tr")[0].image.name == "p0_0000.nii.gz"


def test_a_picture_in_colour_holds_its_channels_in_one_file(tmp_path):
    root = write_nnunet(tmp_path, channels=("R", "G", "B"), shapes=())
    change(root, file_ending=".png")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / "imagesTr" / "a_0000.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(root / "labelsTr" / "a.png")
    assert list_nnunet(root, "Tr")[0].image == root / "imagesTr" / "a_0000.png"


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ({"background": 0, "lesion": 1}, "one_class"),
        (LABELS, "exclusive"),
        ({"background": 0, "whole": [1, 2], "core": 2}, "regions"),
    ],
)
def test_labels_are_of_the_kind_that_dataset_json_spells(tmp_path, labels, kind):
    found = read_dataset(write_nnunet(tmp_path, labels=labels)).labels
    assert found.kind == kind
    assert set(found.classes) == set(labels) - {"background"}


def test_images_ts_are_the_test_split_where_they_have_masks(tmp_path):
    root = write_nnunet(tmp_path)
    shared = [load_split("nnunet", root, split) for split in SPLITS]
    assert sorted(case.name for split in shared for case in split) == ["p0", "p1", "p2", "p3"]
    write_nnunet(root, part="Ts", shapes=((40, 32, 3),) * 2)
    train, validation, test = (load_split("nnunet", root, split) for split in SPLITS)
    assert [case.name for case in test] == ["q0", "q1"]
    assert sorted(case.name for case in (*train, *validation)) == ["p0", "p1", "p2", "p3"]


def test_images_ts_without_masks_test_nothing(tmp_path):
    root = write_nnunet(tmp_path)
    write_nnunet(root, part="Ts", shapes=((40, 32, 3),))
    for file in (root / "labelsTs").iterdir():
        file.unlink()
    (root / "labelsTs").rmdir()
    assert [case.mask for case in list_nnunet(root, "Ts")] == [None]
    assert all(case.mask for case in load_split("nnunet", root, "test"))


def test_lists_go_before_the_folders(tmp_path):
    root = write_nnunet(tmp_path)
    write_nnunet(root, part="Ts", shapes=((40, 32, 3),))
    for split, names in zip(SPLITS, ("p1\np2\n", "p0\n", "p3\n"), strict=True):
        (root / f"{split}.txt").write_text(names)
    splitting = Splitting()
    names = [[c.name for c in load_split("nnunet", root, s, splitting=splitting)] for s in SPLITS]
    assert names == [["p1", "p2"], ["p0"], ["p3"]]


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("imagesTr/p1_0001.nii.gz", r"imagesTr lacks p1_0001\.nii\.gz \(T2\), but"),
        ("labelsTr/p2.nii.gz", r"labelsTr/p2\.nii\.gz is not there, but its image is"),
        ("dataset.json", r"dataset\.json cannot be read"),
    ],
)
def test_what_is_missing_is_named(tmp_path, gone, said):
    root = write_nnunet(tmp_path, channels=("T1", "T2"))
    (root / gone).unlink()
    with pytest.raises(DataError, match=said):
        list_nnunet(root, "Tr")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"file_ending": ".nrrd"}, r"no file named like CASE_0000\.nrrd.*file_ending"),
        ({"file_ending": None}, "KeyError: 'file_ending'"),
        ({"file_ending": "/../../p0.nii.gz"}, "no file named like"),
        ({"channel_names": ["T1"]}, "does not read as nnU-Net's dataset.json"),
        ({"channel_names": {"T1": 0}}, "KeyError: '0'"),
        ({"labels": [0, 1]}, "does not read as nnU-Net's dataset.json"),
        ({"labels": {"background": 0}}, "labels that do not hold"),
        ({"labels": {"background": 0, "a": "one"}}, "labels that do not hold"),
        ({"labels": {**LABELS, "ignore": 1}}, "labels that do not hold"),
    ],
)
def test_a_dataset_json_that_does_not_hold_is_refused(tmp_path, changes, said):
    root = write_nnunet(tmp_path)
    change(root, **changes)
    with pytest.raises(DataError, match=said) as raised:
        list_nnunet(root, "Tr")
    assert "dataset.json" in str(raised.value)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b"", b'"words"', b"[" * 100_000])
def test_what_is_no_dataset_json_is_refused(tmp_path, content):
    root = write_nnunet(tmp_path)
    (root / "dataset.json").write_bytes(content)
    with pytest.raises(DataError, match=r"dataset\.json"):
        read_dataset(root)


def test_all_missing_modalities_are_named(tmp_path):
    root = write_nnunet(tmp_path, channels=("T1", "T2", "FLAIR"))
    for gone in ("p1_0000", "p1_0002", "p3_0001"):
        (root / "imagesTr" / f"{gone}.nii.gz").unlink()
    said = (
        r"lacks p1_0000\.nii\.gz \(T1\), p1_0002\.nii\.gz \(FLAIR\), p3_0001\.nii\.gz \(T2\), but"
    )
    with pytest.raises(DataError, match=said):
        list_nnunet(root, "Tr")


def test_of_very_many_the_first_are_named_and_the_others_counted(tmp_path):
    root = write_nnunet(tmp_path, shapes=((4, 4, 1),) * 12)
    content = json.loads((root / "dataset.json").read_text())
    content["channel_names"]["1"] = "T2"
    (root / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"p0_0001\.nii\.gz \(T2\), .* \(T2\) and 2 more, but"):
        list_nnunet(root, "Tr")
