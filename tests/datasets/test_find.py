"""images/ and masks/ hold pictures, arrays or volumes, put together by name; never two kinds."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from hidiff.datasets import load_split
from hidiff.datasets.find import find_images
from hidiff.datasets.splits import SPLITS
from hidiff.images import DataError
from tests.nnunet_sets import blocks, write


def write_volumes(root, count=4, ending=".nii.gz"):
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        mask = blocks((20, 16, 3))
        write(200 * mask.astype(np.int16), np.eye(4), root / "images" / f"p{number}{ending}")
        write(mask, np.eye(4), root / "masks" / f"p{number}.nii.gz")
    return root


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_volumes_are_a_folder_data_set_too(tmp_path, ending):
    root = write_volumes(tmp_path, ending=ending)
    (root / "images" / ".hidden.nii").touch()
    (root / "images" / "notes.txt").write_text("hello")
    cases = [case for split in SPLITS for case in load_split("folder", root, split)]
    assert sorted(case.name for case in cases) == ["p0", "p1", "p2", "p3"]
    assert all(case.mask.name == f"{case.name}.nii.gz" for case in cases)


def test_lists_name_volumes_without_their_endings(tmp_path):
    root = write_volumes(tmp_path)
    for split, names in zip(SPLITS, ("p0\np3\n", "p2\n", "p1\n"), strict=True):
        (root / f"{split}.txt").write_text(names)
    assert [case.name for case in load_split("folder", root, "train")] == ["p0", "p3"]


def test_pictures_beside_volumes_are_refused(tmp_path):
    root = write_volumes(tmp_path)
    Image.new("L", (8, 8)).save(root / "images" / "a.png")
    with pytest.raises(DataError, match=r"pictures \(a\.png\) and volumes \(p0\.nii\.gz\)"):
        load_split("folder", root, "train")


def test_one_volume_in_two_formats_is_refused(tmp_path):
    root = write_volumes(tmp_path)
    (root / "images" / "p1.mha").touch()
    with pytest.raises(DataError, match=r"both p1\.mha and p1\.nii\.gz"):
        find_images(root / "images")


def test_a_volume_without_a_mask_is_named(tmp_path):
    root = write_volumes(tmp_path)
    (root / "masks" / "p2.nii.gz").unlink()
    with pytest.raises(DataError, match=r"no partner in .*masks: p2\.nii\.gz"):
        load_split("folder", root, "train")


def test_a_folder_of_nothing_known_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(DataError, match="holds no picture, array or volume"):
        find_images(tmp_path)


def test_letters_that_a_mac_takes_apart_are_the_same_letters(tmp_path):
    """An archive of a Mac has u and two dots where another system has one letter."""
    names = [f"Müller {number}" for number in range(4)]
    for folder, form in (("images", "NFC"), ("masks", "NFD")):
        (tmp_path / folder).mkdir()
        for number, name in enumerate(names):
            pixels = np.full((8, 8), number, np.uint8) if folder == "images" else np.eye(8) > 0
            file = tmp_path / folder / f"{unicodedata.normalize(form, name)}.png"
            Image.fromarray(pixels).save(file)
    lists = (names[:2], names[2:3], names[3:])
    for split, of_split in zip(SPLITS, lists, strict=True):
        text = unicodedata.normalize("NFD", "\n".join(of_split))
        (tmp_path / f"{split}.txt").write_text(text, encoding="utf-8")
    found = [[case.name for case in load_split("folder", tmp_path, split)] for split in SPLITS]
    assert found == [list(each) for each in lists]
