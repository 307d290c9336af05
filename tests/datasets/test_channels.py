"""Images of several files in a plain folder: the masks say which files are one case."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hidiff.datasets import Splitting
from hidiff.datasets.channels import join_channels
from hidiff.datasets.layouts import list_folder
from hidiff.images import DataError, read_image
from tests.volumes import make_grid, make_mask, write_nifti

GRID = make_grid(4, 3, 2)


def images(*names):
    return {name: Path("images") / f"{name}.nii.gz" for name in names}


@given(
    st.sets(st.sampled_from(["p", "q", "amos_0001", "amos_0002", "r_0000"]), min_size=1),
    st.integers(2, 4),
)
def test_channels_of_every_case_are_joined_in_order(cases, channels):
    names = [f"{case}_{n:04d}" for case in sorted(cases) for n in reversed(range(channels))]
    joined = join_channels(images(*names), dict.fromkeys(cases))
    assert joined.keys() == cases
    for case in cases:
        wanted = [f"{case}_{n:04d}.nii.gz" for n in range(channels)]
        assert [file.name for file in joined[case]] == wanted


def test_patients_whose_names_end_in_four_digits_stay_apart():
    names = ("amos_0000", "amos_0001")
    assert join_channels(images(*names), dict.fromkeys(names)) == images(*names)


def test_the_number_of_the_only_channel_is_dropped():
    joined = join_channels(images("p_0000", "q_0000"), dict.fromkeys("pq"))
    assert {name: file.name for name, file in joined.items()} == {
        "p": "p_0000.nii.gz", "q": "q_0000.nii.gz"
    }  # fmt: skip


def test_a_lost_channel_is_named():
    names = ("p_0000", "p_0001", "p_0002", "q_0000", "q_0002")
    with pytest.raises(DataError, match=r"lacks q_0001, but other cases have 3 channels"):
        join_channels(images(*names), dict.fromkeys("pq"))


def test_a_folder_of_channels_is_read(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number, case in enumerate("abcde"):
        write_nifti(tmp_path / "masks" / f"{case}.nii.gz", make_mask(GRID), GRID)
        for channel in range(2):
            values = np.full(GRID.shape, 10 * number + channel, np.uint8)
            write_nifti(tmp_path / "images" / f"{case}_000{channel}.nii.gz", values, GRID)
    cases = [
        case
        for split in ("train", "validation", "test")
        for case in list_folder(tmp_path, split, Splitting())
    ]
    assert sorted(case.name for case in cases) == list("abcde")
    for case in cases:
        values = read_image(case.image, 2).values
        assert values[1].max() - values[0].max() == 1
