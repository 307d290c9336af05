"""Files of the system and byte order marks change no layout."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hidiff.datasets import Splitting, load_split, write_synthetic
from hidiff.datasets.find import rater_folders
from hidiff.datasets.splits import SPLITS
from hidiff.images import is_hidden
from hidiff.inspection.share_out import share_out_folder
from tests.nnunet_sets import write_nnunet

JUNK = (
    "._p0_0000.nii.gz",
    "._p0.nii.gz",
    "._case-000.png",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
)


def litter(root):
    """Put a system's files into every folder."""
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        for name in JUNK:
            (folder / name).write_bytes(b"\0\5\26\7")
        (folder / "__MACOSX").mkdir()


def write_msd(root):
    root = write_nnunet(root)
    listed = [
        {"image": f"./imagesTr/{dots}p{n}_0000.nii.gz", "label": f"./labelsTr/{dots}p{n}.nii.gz"}
        for n, dots in ((0, "._"), (0, ""), (1, ""), (2, ""), (3, ""))
    ]
    content = {"labels": {"0": "background", "1": "a", "2": "b"}, "training": listed}
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def write_raters(root):
    write_synthetic(root, num_cases=6, size=32)
    masks = root / "masks"
    for name in ("anna", "ben"):
        (root / name).mkdir()
        for file in masks.iterdir():
            (root / name / file.name).write_bytes(file.read_bytes())
    for file in masks.iterdir():
        file.unlink()
    for name in ("anna", "ben"):
        (root / name).rename(masks / name)
    return root


def write_pictures(root):
    write_synthetic(root, num_cases=6, size=32)
    return root


LAYOUTS = {
    "nnunet": ("nnunet", write_nnunet),
    "msd": ("msd", write_msd),
    "raters": ("folder", write_raters),
    "pictures": ("folder", write_pictures),
}


def cases_of(source, root):
    return {split: load_split(source, root, split, splitting=Splitting()) for split in SPLITS}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_they_are_passed_over_in_every_layout(tmp_path, layout):
    source, write = LAYOUTS[layout]
    root = write(tmp_path / "Dataset001_Set")
    if layout != "msd":
        before = cases_of(source, root)
    litter(root)
    after = cases_of(source, root)
    assert sum(map(len, after.values())) == (4 if source != "folder" else 6)
    if layout != "msd":
        assert after == before
    if layout == "raters":
        assert [path.name for path in rater_folders(root / "masks")] == ["anna", "ben"]
    if source == "folder":
        assert not share_out_folder(root, Splitting())[1]


@pytest.mark.parametrize("layout", ["nnunet", "msd", "pictures"])
def test_a_byte_order_mark_is_read_over(tmp_path, layout):
    source, write = LAYOUTS[layout]
    root = write(tmp_path / "Dataset001_Set")
    if layout == "msd":
        litter(root)  # its list names such a file
    names = sorted(case.name for cases in cases_of(source, root).values() for case in cases)
    for split, name in zip(SPLITS, np.array_split(names, 3), strict=True):
        (root / f"{split}.txt").write_text("\n".join(name), encoding="utf-8-sig")
    file = root / "dataset.json"
    if file.is_file():
        file.write_text(file.read_text(), encoding="utf-8-sig")
    found = cases_of(source, root)
    assert sorted(case.name for cases in found.values() for case in cases) == names


@given(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=12))
def test_a_name_with_a_dot_in_front_is_hidden_whatever_follows(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp()
    assert is_hidden(folder / f".{name}")
    assert is_hidden(folder / f"x{name}") is (f"x{name}".lower() in ("x",))
