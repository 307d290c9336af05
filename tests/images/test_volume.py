"""Volumes as their files have them; what is wrong with one is said in a line."""

import gzip
import sys

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hidiff.images import DataError, Grid, image_stem
from tests.volumes import (
    grids,
    is_volume,
    make_grid,
    make_mask,
    read_grid,
    read_volume,
    read_volume_mask,
    write_nifti,
)

GRID = make_grid(4, 3, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("volumes")


@given(grid=grids(), dtype=st.sampled_from([np.uint8, np.int16, np.float32, np.float64]))
def test_nifti_comes_with_its_voxels_and_its_affine(folder, grid, dtype):
    values = np.random.default_rng(0).integers(0, 100, grid.shape).astype(dtype)
    file = write_nifti(folder / "a.nii.gz", values, grid)
    came = read_volume(file, 1)
    np.testing.assert_array_equal(came.values[0], values)
    np.testing.assert_allclose(came.grid.affine, grid.affine, atol=1e-4)
    assert came.grid.shape == read_grid(file).shape == grid.shape


def test_4_d_files_and_files_beside_each_other_make_the_same_channels(folder):
    values = np.random.default_rng(0).integers(0, 100, (*GRID.shape, 3)).astype(np.int16)
    together = write_nifti(folder / "all.nii.gz", values, GRID)
    apart = tuple(write_nifti(folder / f"a_000{i}.nii.gz", values[..., i], GRID) for i in range(3))
    first, second = read_volume(together, 3), read_volume(apart, 3)
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.values, np.moveaxis(values, -1, 0))


def test_the_scale_of_the_header_is_applied(folder):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((2, 1, 1))
    header["scl_slope"], header["scl_inter"], header["magic"] = 2, -1000, b"n+1"
    header["vox_offset"] = 352
    (folder / "scaled.nii").write_bytes(
        header.binaryblock + bytes(4) + np.array([7, 500], np.int16).tobytes()
    )
    values = read_volume(folder / "scaled.nii", 1).values
    assert values.dtype == np.float32
    assert values.ravel().tolist() == [-986, 0]


def test_whole_numbers_stored_as_floats_are_a_mask(folder):
    mask = make_mask(GRID)
    file = write_nifti(folder / "float.nii.gz", mask.astype(np.float32), GRID)
    came = read_volume_mask(file, GRID, "image.nii")
    assert came.dtype.kind == "i"
    np.testing.assert_array_equal(came, mask)


def test_a_volume_is_known_by_its_ending():
    assert is_volume("a.nii.gz")
    assert is_volume("b.1.NII")
    assert not is_volume("c.png")
    assert [image_stem(name) for name in ("a.nii.gz", "b.1.NII", "c/d.mha")] == ["a", "b.1", "d"]


def nan_affine(file):
    image = nib.Nifti1Image(np.zeros(GRID.shape, np.uint8), GRID.affine)
    image.header["srow_x"] = np.nan
    image.header["sform_code"] = 1
    nib.Nifti1Image(np.asarray(image.dataobj), None, image.header).to_filename(file)


def flat_affine(file):
    image = nib.Nifti1Image(np.zeros(GRID.shape, np.uint8), None)
    image.header["sform_code"] = 1
    image.header["srow_x"] = image.header["srow_y"] = (1, 0, 0, 0)
    image.header["srow_z"] = (0, 0, 1, 0)
    nib.Nifti1Image(np.asarray(image.dataobj), None, image.header).to_filename(file)


def nearly_flat_affine(file):
    """Its determinant is far from 0, but to a computer two of its axes point one way."""
    affine = 1e6 * np.array([[1, 1, 0, 0], [0, 1e-16, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1e-6]])
    image = nib.Nifti2Image(np.zeros(GRID.shape, np.uint8), affine)
    file.write_bytes(gzip.compress(image.to_bytes()))


def cut_off(file):
    write_nifti(file, np.random.default_rng(0).random((20, 20, 20)), make_grid(20, 20, 20))
    file.write_bytes(file.read_bytes()[:5000])


def too_large(file):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((30000, 30000, 30000))
    file.write_bytes(gzip.compress(header.binaryblock + bytes(4)))


def more_than_64_bits_count(file):
    header = nib.Nifti2Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((2**31, 2**31, 4))
    file.write_bytes(gzip.compress(header.binaryblock + bytes(4)))


def five_axes(file):
    write_nifti(file, np.zeros((2, 2, 2, 2, 2), np.uint8), GRID)


def not_finite(file):
    values = np.zeros(GRID.shape, np.float32)
    values[0, 0, 0] = np.nan
    write_nifti(file, values, GRID)


def complex_numbers(file):
    write_nifti(file, np.zeros(GRID.shape, np.complex64), GRID)


BAD = {
    nan_affine: "affine with NaN",
    flat_affine: "cannot be inverted",
    nearly_flat_affine: "cannot be inverted",
    cut_off: "cannot be read",
    too_large: "unpacks to",
    more_than_64_bits_count: "unpacks to",
    five_axes: r"has the shape \(2, 2, 2, 2, 2\)",
    not_finite: "1 voxels that are NaN",
    complex_numbers: "one number a voxel",
    lambda file: file.write_text("hello"): "cannot be read as NIfTI",
    lambda file: None: "is not there",
}


@pytest.mark.parametrize("write", BAD, ids=lambda write: write.__name__)
def test_a_bad_volume_is_refused_in_a_line_that_names_it(folder, write):
    file = folder / "bad.nii.gz"
    file.unlink(missing_ok=True)
    write(file)
    with pytest.raises(DataError, match=BAD[write]) as caught:
        read_volume(file, 1)
    assert "bad.nii.gz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_volume_larger_than_memory_is_refused_before_it_is_read(folder, monkeypatch):
    file = write_nifti(folder / "large.nii.gz", np.zeros(GRID.shape, np.uint8), GRID)
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("", (), {"total": 50}))
    with pytest.raises(DataError, match="this machine has"):
        read_volume(file, 1)


def test_a_wrong_number_of_channels_is_refused(folder):
    file = write_nifti(folder / "two.nii.gz", np.zeros((*GRID.shape, 2), np.uint8), GRID)
    with pytest.raises(DataError, match="2 channels came, but 4 are wanted"):
        read_volume(file, 4)


@pytest.mark.parametrize(("ending", "extra"), [("nrrd", "formats"), ("dcm", "dicom")])
def test_a_missing_extra_says_what_to_install(folder, monkeypatch, ending, extra):
    for module in ("nrrd", "pydicom"):
        monkeypatch.setitem(sys.modules, module, None)
    file = folder / f"a.{ending}"
    file.touch()
    with pytest.raises(ImportError, match=rf"a\.{ending} needs .* 'hidiff\[{extra}\]'"):
        read_volume(file, 1)


BAD_MASKS = {
    "another grid": (np.zeros(GRID.shape, np.uint8), Grid(GRID.shape, 2 * GRID.affine)),
    "4x3x3 against 4x3x2": (np.zeros((4, 3, 3), np.uint8), make_grid(4, 3, 3)),
    r"2 volumes \(4-D\)": (np.zeros((*GRID.shape, 2), np.uint8), GRID),
    "fractions such as 0.5": (np.full(GRID.shape, 0.5, np.float32), GRID),
    "NaN": (np.full(GRID.shape, np.nan, np.float32), GRID),
}


@pytest.mark.parametrize("said", BAD_MASKS)
def test_a_bad_mask_is_refused_in_a_line_that_names_it(folder, said):
    file = write_nifti(folder / "mask.nii.gz", *BAD_MASKS[said])
    with pytest.raises(DataError, match=said) as caught:
        read_volume_mask(file, GRID, "image.nii.gz")
    assert "mask.nii.gz" in str(caught.value)
