"""Volumes in, volumes on the same grid out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hidiff.images.grid import PLANES
from hidiff.loading import Slicing
from tests.volumes import LABELS, Echo, grids, make_grid, make_mask, write_nifti


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("volumes")


@given(
    grid=grids(),
    kind=st.sampled_from(list(LABELS)),
    plane=st.sampled_from(list(PLANES)),
    neighbours=st.integers(0, 1),
)
def test_labels_come_back_where_they_were(folder, grid, kind, plane, neighbours):
    mask = make_mask(grid, kind)
    file = write_nifti(folder / "mask.nii.gz", mask, grid)
    came = Echo(kind, Slicing(plane, neighbours)).predict(file, keep_probability=True)
    planes = LABELS[kind].encode(mask)
    np.testing.assert_array_equal(came.labels, LABELS[kind].decode(planes))
    assert came.probability is not None
    np.testing.assert_array_equal(came.probability, planes)


def test_probabilities_in_files_are_those_in_memory(folder, tmp_path):
    file = write_nifti(folder / "mask.nii.gz", make_mask(make_grid(4, 5, 3)), make_grid(4, 5, 3))
    kept = Echo().predict(file, keep_probability=True)
    filed = Echo().predict(file, keep_probability=True, scratch=tmp_path)
    assert isinstance(filed.maps["probability"], np.memmap)
    np.testing.assert_array_equal(filed.probability, kept.probability)
    assert Echo().predict(file).probability is None


def test_the_share_done_goes_up_to_all(folder):
    file = write_nifti(folder / "mask.nii.gz", make_mask(make_grid(4, 5, 5)), make_grid(4, 5, 5))
    shares = []
    Echo().predict(file, done=shares.append)
    assert shares == pytest.approx([2 / 5, 4 / 5, 1])
