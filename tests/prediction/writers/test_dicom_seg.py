"""DICOM SEG: read back by highdicom and pydicom, each mask lies where it was."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import settings as examples

from hidiff.images import Grid, VolumeGeometry
from hidiff.prediction import Prediction
from hidiff.prediction.writers import write_prediction
from tests.volumes import LABELS, Echo, grids, make_mask, read_volume

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
highdicom = pytest.importorskip("highdicom", reason="the extra dicom is not installed")

from tests.dicom_series import make_slices, write_slices  # noqa: E402


def write_seg(folder, grid, mask, kind):
    """Write a segmentation of a series whose values are the mask's."""
    series = write_slices(folder / "series", make_slices(mask.astype(int), grid))
    model = Echo(kind)
    [path] = write_prediction(model.predict(series), folder, stem="a")
    return series, path


@examples(max_examples=10)
@given(grid=grids())
def test_pydicom_finds_each_mask_at_its_slices_position(tmp_path_factory, grid):
    assume(grid.shape[0] * grid.shape[1] >= 8)  # highdicom 0.28.2 packs smaller frames wrong
    folder = tmp_path_factory.mktemp("seg")
    mask = make_mask(grid)
    series, path = write_seg(folder, grid, mask, "exclusive")
    seg = pydicom.dcmread(path)
    by_place = {
        tuple(np.round(head.ImagePositionPatient, 3)): head.pixel_array
        for head in map(pydicom.dcmread, series.iterdir())
    }
    # a bit a pixel, without gaps between frames (PS3.5, 8.1.1)
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    shape = (int(seg.NumberOfFrames), seg.Rows, seg.Columns)
    frames = bits[: np.prod(shape)].reshape(shape)
    values = dict(zip((1, 2, 3), (1, 2, 4), strict=True))
    seen = 0
    for frame, place in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        position = place.PlanePositionSequence[0].ImagePositionPatient
        segment = place.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        wanted = by_place[tuple(np.round(position, 3))] == values[segment]
        np.testing.assert_array_equal(frame > 0, wanted)
        seen += int(frame.sum())
    assert seen == np.count_nonzero(mask)
    assert [each.SegmentLabel for each in seg.SegmentSequence] == ["rv", "myo", "lv"]


@pytest.mark.parametrize("kind", LABELS)
def test_highdicom_reads_the_classes_in_the_series_order(tmp_path, kind):
    grid = Grid((5, 4, 3), np.diag([-2.0, -1.5, 3.0, 1.0]))
    mask = make_mask(grid, kind)
    series, path = write_seg(tmp_path, grid, mask, kind)
    seg = highdicom.seg.segread(path)
    heads = [pydicom.dcmread(file) for file in series.iterdir()]
    heads = sorted(heads, key=lambda head: head.ImagePositionPatient[2])
    pixels = seg.get_pixels_by_source_instance(
        [head.SOPInstanceUID for head in heads], assert_missing_frames_are_empty=True
    )
    planes = LABELS[kind].encode_bool(mask)[LABELS[kind].class_planes]
    np.testing.assert_array_equal(pixels.transpose(3, 2, 1, 0) > 0, planes)


def test_a_real_series_gets_its_masks(tmp_path, data_root):
    series = data_root / "CT_TotalSegmentator_example" / "example_ct_dicom"
    if not series.is_dir():
        pytest.skip(f"no {series}")
    volume = read_volume(series, 1)
    bone = volume.values[0] > 200
    geometry = VolumeGeometry(volume.grid)
    maps = {"labels": geometry.from_native(bone.astype(np.uint8))}
    prediction = Prediction("ct", LABELS["one_class"], geometry, series, maps=maps)
    with pytest.warns(UserWarning, match="StudyInstanceUID made up; SeriesInstanceUID made up"):
        [path] = write_prediction(prediction, tmp_path, stem="a")
    seg = highdicom.seg.segread(path)
    heads = [pydicom.dcmread(file, stop_before_pixels=True) for file in series.iterdir()]
    heads = sorted(heads, key=lambda head: head.ImagePositionPatient[2])
    pixels = seg.get_pixels_by_source_instance(
        [head.file_meta.MediaStorageSOPInstanceUID for head in heads],
        assert_missing_frames_are_empty=True,
    )
    np.testing.assert_array_equal(pixels[..., 0].transpose(2, 1, 0) > 0, bone)


def test_nifti_beside_dicom_lies_in_the_same_place(tmp_path):
    import nibabel as nib

    grid = Grid((5, 4, 3), np.diag([-2.0, -1.5, 3.0, 1.0]))
    mask = make_mask(grid)
    series, _ = write_seg(tmp_path, grid, mask, "exclusive")
    [path] = write_prediction(Echo().predict(series), tmp_path, stem="b", formats=("nifti",))
    came = nib.load(path)
    np.testing.assert_array_equal(np.asarray(came.dataobj), mask)
    np.testing.assert_allclose(came.affine, grid.affine, atol=1e-4)


def test_dicom_seg_of_what_is_no_dicom_is_refused(tmp_path):
    from tests.volumes import make_grid, write_nifti

    grid = make_grid(3, 3, 2)
    file = write_nifti(tmp_path / "a.nii.gz", make_mask(grid), grid)
    with pytest.raises(ValueError, match="'dicom' is none of nifti, npz"):
        write_prediction(Echo().predict(file), tmp_path, stem="b", formats=("dicom",))
