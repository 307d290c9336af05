"""NRRD, as pynrrd writes it and as ITK understands it."""

import numpy as np
import pytest
from hypothesis import given

from hidiff.data import DataError, read_grid
from hidiff.data.nrrd import SPACES
from hidiff.data.volume import read_volume
from tests.volumes import grids, make_grid

nrrd = pytest.importorskip("nrrd", reason="the extra formats is not installed")

GRID = make_grid(4, 3, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("nrrd")


def make_header(grid, space="left-posterior-superior", channels=False):
    affine = np.diag([*SPACES[space], 1.0]) @ grid.affine
    directions = affine[:3, :3].T
    if channels:
        directions = np.concatenate([np.full((1, 3), np.nan), directions])
    header = {"space": space, "space directions": directions, "space origin": affine[:3, 3]}
    return {**header, "kinds": ["list"] * channels + ["domain"] * 3}


@given(grid=grids())
def test_voxels_and_affine_survive_in_every_space(folder, grid):
    values = np.random.default_rng(0).integers(0, 100, grid.shape).astype(np.int16)
    for space in ("left-posterior-superior", "right-anterior-superior", "las"):
        nrrd.write(str(folder / "a.nrrd"), values, make_header(grid, space))
        came = read_volume(folder / "a.nrrd", 1)
        np.testing.assert_array_equal(came.values[0], values)
        np.testing.assert_allclose(came.grid.affine, grid.affine, atol=1e-6)
        np.testing.assert_array_equal(read_grid(folder / "a.nrrd").affine, came.grid.affine)


def test_channels_are_the_axis_without_a_direction(folder):
    values = np.random.default_rng(0).integers(0, 100, (2, *GRID.shape)).astype(np.uint8)
    nrrd.write(str(folder / "c.nrrd"), values, make_header(GRID, channels=True))
    np.testing.assert_array_equal(read_volume(folder / "c.nrrd", 2).values, values)


def test_itk_sees_the_voxels_in_the_same_place(folder):
    itk = pytest.importorskip("itk", reason="ITK is not installed")
    nrrd.write(str(folder / "ras.nrrd"), np.zeros(GRID.shape), make_header(GRID, "ras"))
    image = itk.imread(str(folder / "ras.nrrd"))
    ours = read_grid(folder / "ras.nrrd").affine
    place = np.array(image.TransformIndexToPhysicalPoint([3, 1, 1]))
    np.testing.assert_allclose(place * [-1, -1, 1], (ours @ [3, 1, 1, 1])[:3])


BAD = {
    "space 'scanner-xyz'": {"space": "scanner-xyz"},
    "NaN or infinite": {"space origin": np.array([0, np.nan, 0])},
    "cannot be inverted": {"space directions": np.ones((3, 3))},
}


@pytest.mark.parametrize("said", BAD)
def test_a_bad_head_is_refused_in_a_line(folder, said):
    file = folder / "bad.nrrd"
    nrrd.write(str(file), np.zeros(GRID.shape), {**make_header(GRID), **BAD[said]})
    with pytest.raises(DataError, match=said) as caught:
        read_volume(file, 1)
    assert "bad.nrrd" in str(caught.value)


@pytest.mark.parametrize("length", [10, -40])
def test_a_file_that_is_cut_off_is_named(folder, length):
    file = folder / "cut.nrrd"
    nrrd.write(str(file), np.random.default_rng(0).uniform(size=GRID.shape), make_header(GRID))
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(DataError, match=r"cut\.nrrd"):
        read_volume(file, 1)
