"""NRRD, as pynrrd writes it and as ITK understands it."""

import bz2
import gzip

import numpy as np
import pytest
from hypothesis import given

from hidiff.images import DataError
from hidiff.images.nrrd import SPACES
from tests.volumes import grids, make_grid, read_grid, read_volume

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


HEAD = """NRRD0004
type: short
dimension: 3
space: left-posterior-superior
sizes: 4 3 2
space directions: (1,0,0) (0,1,0) (0,0,1)
endian: little
encoding: {encoding}
"""
VALUES = np.arange(24, dtype="<i2")


def head(encoding="raw", *more):
    return (HEAD.format(encoding=encoding) + "".join(f"{line}\n" for line in more)).encode() + b"\n"


PACK = {"gzip": gzip.compress, "bzip2": bz2.compress}


@pytest.mark.parametrize("encoding", PACK)
@pytest.mark.parametrize("skip", [0, 5, -1])
def test_packed_voxels_are_those_that_pynrrd_packs_and_what_is_skipped_lies_before(
    folder, encoding, skip
):
    packed = PACK[encoding](b"x" * max(skip, 0) + VALUES.tobytes())
    more = (f"byte skip: {skip}", "line skip: 2") if skip else ()
    lines = b"one\ntwo\n" if skip else b""
    (folder / "packed.nrrd").write_bytes(head(encoding, *more) + lines + packed)
    came = read_volume(folder / "packed.nrrd", 1).values[0]
    np.testing.assert_array_equal(came, VALUES.reshape(4, 3, 2, order="F"))


@pytest.mark.parametrize("encoding", PACK)
def test_a_file_that_unpacks_to_more_than_it_says_is_refused(folder, encoding):
    (folder / "bomb.nrrd").write_bytes(head(encoding) + PACK[encoding](bytes(10**7)))
    with pytest.raises(DataError, match=r"bomb\.nrrd unpacks to more"):
        read_volume(folder / "bomb.nrrd", 1)


def test_lines_that_are_not_there_are_not_looked_for(folder):
    """pynrrd asks for each of them, which would take an hour."""
    (folder / "busy.nrrd").write_bytes(head("raw", "line skip: 9999999999") + VALUES.tobytes())
    with pytest.raises(DataError, match=r"busy\.nrrd skips 9999999999 lines"):
        read_volume(folder / "busy.nrrd", 1)


def test_the_data_lie_beside_their_head_and_nowhere_else(folder):
    (folder / "data.raw").write_bytes(VALUES.tobytes())
    (folder / "apart.nhdr").write_bytes(head("raw", "data file: data.raw"))
    came = read_volume(folder / "apart.nhdr", 1).values[0]
    np.testing.assert_array_equal(came, VALUES.reshape(4, 3, 2, order="F"))
    for name in (folder / "data.raw", "../data.raw", "gone.raw", "x" * 300):
        (folder / "out.nhdr").write_bytes(head("raw", f"data file: {name}"))
        with pytest.raises(DataError, match=r"out\.nhdr has its data in .* one file beside it"):
            read_volume(folder / "out.nhdr", 1)
