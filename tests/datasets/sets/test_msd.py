"""The Decathlon's layout: one dataset.json, 4-D images, and no way out of the folder."""

import json

import nibabel as nib
import numpy as np
import pytest

from hidiff.datasets import load_split
from hidiff.datasets.sets.msd import is_msd, list_msd, read_msd_channels, read_msd_labels
from hidiff.datasets.splits import SPLITS
from hidiff.images import DataError, Intensity
from hidiff.loading import LoadedCases, Reading
from tests.nnunet_sets import blocks, write

SHAPE = (20, 16, 3)


@pytest.fixture
def root(tmp_path):
    """Four cases of two modalities, in the last axis of one file."""
    listed = []
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    for number in range(4):
        mask = blocks(SHAPE)
        image = np.stack([200.0 * mask, 100.0 * mask + number], axis=-1).astype(np.float32)
        name = f"p{number}.nii.gz"
        write(image, np.eye(4), tmp_path / "imagesTr" / name)
        write(mask, np.eye(4), tmp_path / "labelsTr" / name)
        listed.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    content = {
        "modality": {"0": "FLAIR", "1": "T1w"},
        "labels": {"0": "background", "1": "edema", "2": "core"},
        "training": listed,
        "test": ["./imagesTs/p9.nii.gz"],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    return tmp_path


def change(root, **changes):
    file = root / "dataset.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_dataset_json_says_who_is_there_and_what_the_values_mean(root):
    assert is_msd(root)
    assert read_msd_channels(root) == ("FLAIR", "T1w")
    assert read_msd_labels(root).classes == {"edema": (1,), "core": (2,)}
    assert [case.name for case in list_msd(root)] == ["p0", "p1", "p2", "p3"]
    shared = [case.name for split in SPLITS for case in load_split("msd", root, split)]
    assert sorted(shared) == ["p0", "p1", "p2", "p3"]


def test_the_last_axis_of_a_4d_image_is_its_channels(root):
    case = list_msd(root)[0]
    raw = Intensity(kind="window", window=(0, 200))
    item = LoadedCases([case], Reading(read_msd_labels(root), 2, raw))[1]
    assert item["image"].shape[0] == 2
    # 0 to 200 becomes -1 to 1: the first channel is 200 a class, the second half as much
    shown = item["y0"][1].bool()
    assert item["image"][0][shown].unique().tolist() == [1.0]
    assert item["image"][1][shown].unique().tolist() == [0.0]
    whole = np.asarray(nib.load(case.image).dataobj)
    assert shown.sum() == (whole[:, :, 1, 0] == 200).sum()


@pytest.mark.parametrize("place", ["../out.nii.gz", "/etc/hostname", "imagesTr/../../out.nii.gz"])
def test_a_path_that_leads_out_is_refused(root, place):
    (root.parent / "out.nii.gz").write_bytes(b"")
    change(root, training=[{"image": place, "label": "labelsTr/p0.nii.gz"}])
    with pytest.raises(DataError, match="leads out of its folder"):
        list_msd(root)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training": []}, "lists no case"),
        ({"training": ["imagesTr/p0.nii.gz"]}, '"image": ..., "label": ...'),
        (
            {"training": [{"image": "imagesTr/p7.nii.gz", "label": "labelsTr/p0.nii.gz"}]},
            r"p7\.nii\.gz is not there, but .*dataset\.json lists it",
        ),
    ],
)
def test_a_list_that_does_not_hold_is_refused(root, changes, said):
    change(root, **changes)
    with pytest.raises(DataError, match=said):
        list_msd(root)


@pytest.mark.parametrize("labels", [{}, None, ["edema"], {"one": "edema"}, {"0": "background"}])
def test_labels_that_do_not_hold_are_refused(root, labels):
    change(root, labels=labels)
    with pytest.raises(DataError, match=r"dataset\.json has the labels"):
        read_msd_labels(root)


@pytest.mark.parametrize("content", ["{", "[]", "3", "[" * 100_000])
def test_what_is_no_dataset_json_is_refused(root, content):
    (root / "dataset.json").write_text(content)
    with pytest.raises(DataError, match=r"dataset\.json"):
        list_msd(root)
