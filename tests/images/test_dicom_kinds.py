"""DICOM as hospitals export it: polarity, lost preambles, copies, rounding, projections, frames."""

import copy
import io
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hidiff.images import DataError, Grid, find_format, image_stem
from tests.volumes import make_grid, read_grid, read_volume

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")

from pydicom.dataset import Dataset  # noqa: E402
from pydicom.uid import (  # noqa: E402
    DigitalMammographyXRayImageStorageForPresentation,
    EnhancedMRImageStorage,
    ImplicitVRLittleEndian,
)

from tests.dicom_series import decimals, make_slices, write_slices  # noqa: E402

GRID = Grid((4, 3, 5), make_grid(4, 3, 5).affine @ np.diag([1, -1, 1, 1]))
VALUES = np.random.default_rng(0).integers(-1000, 1000, GRID.shape)


@pytest.fixture
def slices():
    return make_slices(VALUES, GRID)


@settings(max_examples=20, deadline=None)
@given(
    bits=st.integers(1, 16),
    signed=st.booleans(),
    inverted=st.booleans(),
    slope=st.sampled_from([1, 2]),
    intercept=st.sampled_from([0, -1024]),
    seed=st.integers(0, 99),
)
def test_white_is_high_whatever_the_bits_and_the_polarity(
    tmp_path_factory, bits, signed, inverted, slope, intercept, seed
):
    """The complement of the stored bits with MONOCHROME1 is the same image."""
    folder = tmp_path_factory.mktemp("polarity")
    low = -(2 ** (bits - 1)) if signed else 0
    stored = np.random.default_rng(seed).integers(low, low + 2**bits, GRID.shape)
    written = make_slices(stored, GRID)
    for z, head in enumerate(written):
        plane = stored[:, :, z].T
        plane = (2 * low + 2**bits - 1) - plane if inverted else plane
        head.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
        head.BitsStored, head.HighBit, head.PixelRepresentation = bits, bits - 1, int(signed)
        head.RescaleSlope, head.RescaleIntercept = slope, intercept
        head.PixelData = np.ascontiguousarray(plane, "<i2" if signed else "<u2").tobytes()
    series = write_slices(folder / "series", written)
    np.testing.assert_array_equal(read_volume(series, 1).values[0], stored * slope + intercept)
    assert any("MONOCHROME1" in remark for remark in read_grid(series).remarks) == inverted


@pytest.mark.parametrize("photometric", ["PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "HSV"])
@pytest.mark.parametrize("samples", [1, 3])
def test_palettes_and_colours_are_refused_by_name(tmp_path, slices, photometric, samples):
    slices[1].PhotometricInterpretation = photometric
    slices[1].SamplesPerPixel = samples
    series = write_slices(tmp_path / "series", slices)
    with pytest.raises(DataError, match=rf"IM\d+_1 is in colour \({photometric}\)"):
        read_volume(series, 1)


def test_bits_that_are_not_the_lowest_are_refused(tmp_path, slices):
    for head in slices:
        head.BitsStored, head.HighBit = 12, 15
    series = write_slices(tmp_path / "series", slices)
    with pytest.raises(DataError, match=r"keeps 12 bits of a number below bit 15.*HighBit 11"):
        read_volume(series, 1)


def test_bits_above_those_of_the_number_do_not_count(tmp_path, slices):
    """Old files keep drawings there."""
    values = np.abs(VALUES)
    for z, head in enumerate(slices):
        head.BitsStored, head.HighBit, head.PixelRepresentation = 12, 11, 0
        head.PixelData = (values[:, :, z].T | 0x8000).astype("<u2").tobytes()
    series = write_slices(tmp_path / "series", slices)
    np.testing.assert_array_equal(read_volume(series, 1).values[0], values)


def test_both_polarities_in_one_series_are_refused(tmp_path, slices):
    slices[1].PhotometricInterpretation = "MONOCHROME1"
    with pytest.raises(DataError, match="both MONOCHROME1 and MONOCHROME2"):
        read_volume(write_slices(tmp_path / "series", slices), 1)


def strip_preamble(file):
    file.write_bytes(file.read_bytes()[132:])


def strip_meta(file):
    """Leave the data set alone, in the encoding that is read without being named."""
    head = pydicom.dcmread(file)
    head.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    head.save_as(file, enforce_file_format=True, implicit_vr=True, little_endian=True)
    content = io.BytesIO(file.read_bytes())
    pydicom.filereader.read_preamble(content, force=False)
    pydicom.filereader._read_file_meta_info(content)
    file.write_bytes(content.read())


@pytest.mark.parametrize("strip", [strip_preamble, strip_meta])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("ending", ["", ".dcm"])
def test_files_without_preamble_are_slices_like_all_others(tmp_path, slices, strip, count, ending):
    series = write_slices(tmp_path / "series", slices)
    for number, file in enumerate(sorted(series.iterdir())):
        file = file.rename(file.with_name(file.name + ending))
        if number < count:
            strip(file)
    assert find_format(series) is not None
    came = read_volume(series, 1)
    np.testing.assert_array_equal(came.values[0], VALUES)
    np.testing.assert_allclose(came.grid.affine, GRID.affine)


@pytest.mark.parametrize("name", ["a.dcm", "b.IMA", "IM000001"])
@pytest.mark.parametrize("content", [b"", bytes(400), b"\x13\x00\x47\x11" * 99])
def test_a_file_that_should_be_a_slice_is_never_skipped(tmp_path, slices, name, content):
    series = write_slices(tmp_path / "series", slices)
    (series / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} cannot be read as DICOM"):
        read_volume(series, 1)


@pytest.mark.parametrize("name", ["LICENSE", "notes.txt", ".DS_Store", "._a.dcm", "Thumbs.db"])
def test_texts_and_system_files_are_passed_over(tmp_path, slices, name):
    series = write_slices(tmp_path / "series", slices)
    (series / name).write_bytes(b"Creative Commons")
    np.testing.assert_array_equal(read_volume(series, 1).values[0], VALUES)


@pytest.mark.parametrize("copied", [1, 5])
def test_copies_of_slices_are_dropped_with_a_warning(tmp_path, slices, copied):
    series = write_slices(tmp_path / "series", slices)
    for file in sorted(series.iterdir())[:copied]:
        (series / f"{file.name} (copy)").write_bytes(file.read_bytes())
    with pytest.warns(UserWarning, match=rf"holds {copied} slices twice; the copies are left out"):
        came = read_volume(series, 1)
    np.testing.assert_array_equal(came.values[0], VALUES)


def test_other_pixels_under_the_same_identifier_are_no_copy(tmp_path, slices):
    slices.append(copy.deepcopy(slices[0]))
    slices[-1].PixelData = slices[1].PixelData
    with pytest.raises(DataError, match="two slices in one place"):
        read_volume(write_slices(tmp_path / "series", slices), 1)


@settings(max_examples=15, deadline=None)
@given(
    spacing=st.sampled_from([0.625, 1.25, 2.5, 3.3]),
    count=st.integers(2, 12),
    angle=st.floats(0, 0.5),
    start=st.floats(-300, 300),
    missing=st.integers(1, 10),
)
def test_rounded_positions_lie_on_a_straight_line_and_missing_slices_do_not(
    tmp_path_factory, spacing, count, angle, start, missing
):
    affine = np.eye(4)
    turn = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    affine[:3, :3] = turn * [0.7, 0.7, spacing]
    affine[:3, 3] = start
    grid = Grid((2, 2, count), np.diag([-1, -1, 1, 1]) @ affine)
    written = make_slices(np.arange(4 * count).reshape(2, 2, count), grid)
    for head in written:
        head.ImagePositionPatient = decimals(
            np.round(np.array(head.ImagePositionPatient, float), 1)
        )
    folder = tmp_path_factory.mktemp("rounded")
    came = read_volume(write_slices(folder / "all", written), 1)
    np.testing.assert_array_equal(came.values[0], np.arange(4 * count).reshape(2, 2, count))
    np.testing.assert_allclose(came.grid.spacing_mm[2], spacing, atol=0.15 / (count - 1))
    corner = [1, 1, count - 1, 1]
    np.testing.assert_allclose(came.grid.affine @ corner, grid.affine @ corner, atol=0.15)
    if count > 3 and missing < count - 1:  # two slices lie on any line
        del written[missing]
        with pytest.raises(DataError, match="mixed spacings"):
            read_volume(write_slices(folder / "missing", written), 1)


PROJECTIONS = {
    "PixelSpacing": ([0.2, 0.1], (0.1, 0.2), None),
    "ImagerPixelSpacing": ([0.2, 0.1], (0.1, 0.2), "at the detector"),
    "NominalScannedPixelSpacing": ([0.2, 0.1], (0.1, 0.2), "NominalScanned"),
    "none": (None, (1.0, 1.0), "no size of pixels"),
}


def make_projection(tag="ImagerPixelSpacing", spacing=(0.2, 0.1)):
    (head,) = make_slices(VALUES[:, :, :1], Grid((4, 3, 1), GRID.affine))
    for name in (
        "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
        "FrameOfReferenceUID", "PositionReferenceIndicator",
    ):  # fmt: skip
        delattr(head, name)
    head.file_meta.MediaStorageSOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    head.SOPClassUID, head.Modality = DigitalMammographyXRayImageStorageForPresentation, "MG"
    if spacing is not None:
        setattr(head, tag, decimals(spacing))
    return head


@pytest.mark.parametrize("tag", PROJECTIONS)
def test_a_projection_is_one_slice_with_the_size_of_its_pixels(tmp_path, tag):
    spacing, wanted, said = PROJECTIONS[tag]
    file = tmp_path / "view.dcm"
    make_projection(tag, spacing).save_as(file, enforce_file_format=True)
    came = read_volume(file, 1)
    np.testing.assert_array_equal(came.values[0], VALUES[:, :, :1])
    np.testing.assert_allclose(came.grid.spacing_mm, (*wanted, 1))
    remarks = " ".join(read_grid(file).remarks)
    assert "a projection" in remarks
    assert said is None or said in remarks


def test_a_folder_of_projections_is_no_volume(tmp_path):
    folder = write_slices(tmp_path / "views", [make_projection(), make_projection()])
    with pytest.raises(DataError, match="give the file, not its folder"):
        read_volume(folder, 1)


def make_enhanced(values, grid, shared_spacing=True, slope=2):
    """All slices in one file, in an order of frames that says nothing about places."""
    plain = make_slices(values, grid)
    order = np.roll(np.arange(len(plain))[::-1], 1)
    head = copy.deepcopy(plain[0])
    for name in (
        "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
        "RescaleSlope", "RescaleIntercept",
    ):  # fmt: skip
        delattr(head, name)
    head.SOPClassUID = head.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    head.Modality, head.NumberOfFrames = "MR", len(plain)
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = plain[0].ImageOrientationPatient
    measures.PixelSpacing = plain[0].PixelSpacing
    measures.SliceThickness = plain[0].SliceThickness
    shared.PlaneOrientationSequence = [orientation]
    if shared_spacing:
        shared.PixelMeasuresSequence = [measures]
    head.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for number in order:
        frame, position, rescale, content = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = plain[number].ImagePositionPatient
        rescale.RescaleSlope, rescale.RescaleIntercept = slope, int(number) * (slope - 1)
        rescale.RescaleType = "US"
        content.DimensionIndexValues = [int(number) + 1]
        frame.PlanePositionSequence = [position]
        frame.PixelValueTransformationSequence = [rescale]
        frame.FrameContentSequence = [content]
        if not shared_spacing:
            frame.PixelMeasuresSequence = [measures]
        frames.append(frame)
    head.PerFrameFunctionalGroupsSequence = frames
    head.PixelData = b"".join(plain[number].PixelData for number in order)
    return head


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("count", [1, 5])
def test_enhanced_files_are_read_frame_by_frame(tmp_path, shared, count):
    values, grid = VALUES[:, :, :count], Grid((4, 3, count), GRID.affine)
    file = tmp_path / "enhanced.dcm"
    make_enhanced(values, grid, shared).save_as(file, enforce_file_format=True)
    came = read_volume(file, 1)
    np.testing.assert_array_equal(came.values[0], 2 * values + np.arange(count))
    np.testing.assert_allclose(came.grid.affine, grid.affine)


@pytest.mark.parametrize("place", [".", "..", "./", "../series"])
def test_a_series_has_its_folders_own_name(tmp_path, slices, monkeypatch, place):
    series = write_slices(tmp_path / "series", slices)
    (series / "inner").mkdir()
    monkeypatch.chdir(series / "inner" if place == ".." else series)
    assert image_stem(place) == "series"


def test_reading_whole_series_warns_of_nothing(tmp_path, slices):
    series = write_slices(tmp_path / "series", slices)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_volume(series, 1).grid.remarks == ()
