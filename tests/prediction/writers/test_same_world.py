"""Every voxel of what is written lies where it lay in the input, by other libraries' reading."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hidiff.images import Grid
from hidiff.prediction.writers import write_prediction
from tests.images.test_metaimage import write as write_metaimage
from tests.images.test_nrrd import make_header
from tests.volumes import Echo, grids, make_mask, write_nifti

nrrd = pytest.importorskip("nrrd", reason="the extra formats is not installed")
pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
highdicom = pytest.importorskip("highdicom", reason="the extra dicom is not installed")

from tests.dicom_series import make_slices, write_slices  # noqa: E402


def as_metaimage(folder, mask, grid):
    return write_metaimage(folder / "a.mha", mask.astype(np.int16), grid)


def as_nrrd(folder, mask, grid):
    nrrd.write(str(folder / "a.nrrd"), mask, make_header(grid, "las"))
    return folder / "a.nrrd"


def as_dicom(folder, mask, grid):
    return write_slices(folder / "a", make_slices(mask.astype(int), grid))


WRITE = {
    "nifti": lambda folder, mask, grid: write_nifti(folder / "a.nii.gz", mask, grid),
    "nrrd": as_nrrd,
    "metaimage": as_metaimage,
    "dicom": as_dicom,
}


def points(mask, affine):
    """Return (x, y, z in mm, RAS, value) of every marked voxel, sorted."""
    where = np.argwhere(mask)
    places = nib.affines.apply_affine(affine, where)
    table = np.column_stack([np.round(places, 2) + 0.0, mask[tuple(where.T)]])
    return table[np.lexsort(table.T)]


def nifti_points(path):
    image = nib.load(path)
    return points(np.asarray(image.dataobj), image.affine)


def seg_points(path):
    """By highdicom: frames, rows and columns in its own axes, and its affine in RAS."""
    seg = highdicom.seg.segread(path)
    volume = seg.get_volume(combine_segments=True, rescale_fractional=False)
    values = np.array([0, 1, 2, 4])[volume.array]
    return points(values, volume.get_affine("RAS"))


def agree(came, wanted):
    """Sort order may differ where places differ by their rounding: compare the nearest."""
    assert len(came) == len(wanted)
    for row in wanted:
        near = came[np.abs(came[:, :3] - row[:3]).max(axis=1) < 0.03]
        assert row[3] in near[:, 3]


@pytest.mark.parametrize("format", WRITE)
@settings(max_examples=12, deadline=None)
@given(grid=grids(), plane=st.just("axial"))
def test_nifti_lies_where_the_input_lay(tmp_path_factory, format, grid, plane):
    folder = tmp_path_factory.mktemp(format.replace(" ", "_"))
    mask = make_mask(grid)
    file = WRITE[format](folder, mask, grid)
    prediction = Echo().predict(file)
    [path] = write_prediction(prediction, folder / "out", stem="b", formats=("nifti",))
    agree(nifti_points(path), points(mask, grid.affine))


@settings(max_examples=8, deadline=None)
@given(grid=grids())
def test_dicom_seg_lies_where_the_series_lay(tmp_path_factory, grid):
    assume(grid.shape[0] * grid.shape[1] >= 8)  # highdicom 0.28.2 packs smaller frames wrong
    assume(grid.shape[2] > 1)
    folder = tmp_path_factory.mktemp("seg")
    mask = np.ones(grid.shape, np.uint8)  # all slices, as empty ones are left out of a SEG
    mask.flat[::2] = 2
    series = as_dicom(folder, mask, grid)
    [path] = write_prediction(Echo().predict(series), folder / "out", stem="b")
    agree(seg_points(path), points(mask, grid.affine))


@pytest.mark.parametrize("format", ["nifti", "nrrd", "metaimage"])
def test_simpleitk_sees_both_in_one_place(tmp_path, format):
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    grid = Grid((4, 3, 5), np.diag([-2.0, 2.0, 3.0, 1.0]))
    mask = make_mask(grid)
    file = WRITE[format](tmp_path, mask, grid)
    [path] = write_prediction(Echo().predict(file), tmp_path / "out", stem="b")
    ours, theirs = (sitk.ReadImage(str(each)) for each in (path, file))
    for corner in ((0, 0, 0), (3, 2, 4)):
        np.testing.assert_allclose(
            ours.TransformIndexToPhysicalPoint(corner),
            theirs.TransformIndexToPhysicalPoint(corner),
            atol=1e-4,
        )
        assert ours[corner] == theirs[corner]


def test_simpleitk_reads_the_series_where_we_do(tmp_path):
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    grid = Grid((4, 3, 5), np.diag([-2.0, -2.0, 3.0, 1.0]))
    mask = make_mask(grid)
    series = as_dicom(tmp_path, mask, grid)
    [path] = write_prediction(Echo().predict(series), tmp_path / "out", formats=("nifti",))
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(series))
    theirs, ours = sitk.ReadImage(names), sitk.ReadImage(str(path))
    for corner in ((0, 0, 0), (3, 2, 4)):
        place = theirs.TransformIndexToPhysicalPoint(corner)
        assert ours[ours.TransformPhysicalPointToIndex(place)] == theirs[corner]
