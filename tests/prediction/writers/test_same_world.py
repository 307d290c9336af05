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
from tests.volumes import Echo, grids, make_mask, read_grid, read_volume_mask, write_nifti

nrrd = pytest.importorskip("nrrd", reason="the extra formats is not installed")
pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
highdicom = pytest.importorskip("highdicom", reason="the extra dicom is not installed")

from tests.dicom_series import make_slices, write_slices  # noqa: E402
from tests.images.test_units_and_axes import write_segmentation  # noqa: E402

try:
    import SimpleITK as sitk
except ImportError:
    sitk = None


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


def sitk_points(image):
    """By SimpleITK, whose world is LPS: (x, y, z in mm, RAS, value) of every marked voxel."""
    values = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return points(values, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


needs_sitk = pytest.mark.skipif(sitk is None, reason="SimpleITK is not installed")


@needs_sitk
@pytest.mark.parametrize("format", ["nifti", "nrrd", "metaimage"])
@settings(max_examples=8, deadline=None)
@given(grid=grids())
def test_simpleitk_sees_both_in_one_place(tmp_path_factory, format, grid):
    folder = tmp_path_factory.mktemp("sitk")
    mask = make_mask(grid)
    file = WRITE[format](folder, mask, grid)
    [path] = write_prediction(Echo().predict(file), folder / "out", stem="b", formats=("nifti",))
    ours, theirs = (sitk_points(sitk.ReadImage(str(each))) for each in (path, file))
    agree(ours, theirs)
    agree(ours, points(mask, grid.affine))


@needs_sitk
@settings(max_examples=5, deadline=None)
@given(grid=grids())
def test_simpleitk_reads_the_series_where_we_do(tmp_path_factory, grid):
    assume(min(grid.shape) > 1)  # GDCM drops the axis of slices that have a single row
    folder = tmp_path_factory.mktemp("sitk")
    mask = make_mask(grid)
    series = as_dicom(folder, mask, grid)
    [path] = write_prediction(Echo().predict(series), folder / "out", formats=("nifti",))
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(series))
    theirs = sitk.ReadImage(names)
    agree(sitk_points(sitk.ReadImage(str(path))), sitk_points(theirs))


@needs_sitk
@settings(max_examples=4, deadline=None)
@given(grid=grids())
def test_simpleitk_reads_the_segments_where_the_series_lies(tmp_path_factory, grid):
    """One class in every voxel: ITK stacks the frames of all segments, and calls each bit 255."""
    # frames of whole bytes, as ITK and highdicom pack others in their own ways
    grid = Grid((4, 4, max(grid.shape[2], 2)), grid.affine)
    folder, mask = tmp_path_factory.mktemp("seg"), np.ones(grid.shape, np.uint8)
    [path] = write_prediction(Echo().predict(as_dicom(folder, mask, grid)), folder / "out")
    agree(sitk_points(sitk.ReadImage(str(path)) // 255), points(mask, grid.affine))


@needs_sitk
@settings(max_examples=8, deadline=None)
@given(grid=grids())
def test_simpleitk_reads_slicers_masks_where_we_do(tmp_path_factory, grid):
    folder = tmp_path_factory.mktemp("slicer")
    mask = make_mask(grid)
    segments = [(f"class {value}", 0, value) for value in (1, 2, 4)]
    file = write_segmentation(folder / "a.seg.nrrd", mask, segments, grid)
    image = write_nifti(folder / "image.nii.gz", mask, grid)
    ours = points(read_volume_mask(file, read_grid(image), image), grid.affine)
    agree(sitk_points(sitk.ReadImage(str(file))), ours)
