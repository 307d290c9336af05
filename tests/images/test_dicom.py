"""A DICOM series as a volume; a folder that is none is refused in a line."""

import copy
import shutil

import numpy as np
import pytest
from hypothesis import given

from hidiff.images import DataError, Grid
from tests.volumes import grids, is_volume, make_grid, read_grid, read_volume

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")

from pydicom.uid import (  # noqa: E402
    MPEG4HP41,
    DeflatedExplicitVRLittleEndian,
    JPEGLosslessSV1,
    generate_uid,
)

from tests.dicom_series import make_slices, write_slices  # noqa: E402

GRID = Grid((4, 3, 5), make_grid(4, 3, 5).affine @ np.diag([1, -1, 1, 1]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dicom")


@pytest.fixture
def slices():
    return make_slices(np.random.default_rng(0).integers(-1000, 1000, GRID.shape), GRID)


def right_handed(grid: Grid) -> Grid:
    """DICOM's slices are sorted along the normal of rows and columns."""
    affine = grid.affine.copy()
    if np.linalg.det(affine[:3, :3]) < 0:
        affine[:3, 2] *= -1
    return Grid(grid.shape, affine)


@given(grid=grids())
def test_slices_are_put_in_order_by_where_they_lie(folder, grid):
    grid = right_handed(grid)
    values = np.random.default_rng(0).integers(-1000, 1000, grid.shape)
    shutil.rmtree(folder / "series", ignore_errors=True)
    series = write_slices(folder / "series", make_slices(values, grid))
    assert is_volume(series)
    came = read_volume(series, 1)
    np.testing.assert_array_equal(came.values[0], values)
    np.testing.assert_allclose(came.grid.affine, grid.affine, atol=1e-4)
    np.testing.assert_array_equal(read_grid(series).affine, came.grid.affine)


def test_a_real_series_is_what_highdicom_reads(data_root):
    highdicom = pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    series = data_root / "CT_TotalSegmentator_example" / "example_ct_dicom"
    if not series.is_dir():
        pytest.skip(f"no {series}")
    heads = [pydicom.dcmread(file) for file in series.iterdir()]
    for head in heads:  # emptied, to hide the patient
        head.SOPClassUID = head.file_meta.MediaStorageSOPClassUID
        head.SOPInstanceUID = head.file_meta.MediaStorageSOPInstanceUID
        head.SeriesInstanceUID = head.StudyInstanceUID = "1.2.3"
    theirs = highdicom.get_volume_from_series(heads)
    ours = read_volume(series, 1)
    # (slice, row, column) and (column, row, slice)
    turned = theirs.get_affine("RAS")[:, [2, 1, 0, 3]]
    flipped = not np.allclose(turned[:3, 2], ours.grid.affine[:3, 2])
    wanted = theirs.array.transpose(2, 1, 0)
    np.testing.assert_allclose(ours.values[0], wanted[:, :, ::-1] if flipped else wanted)
    np.testing.assert_allclose(ours.grid.affine[:3, :2], turned[:3, :2], atol=1e-4)


def test_each_slice_is_rescaled_by_its_own_numbers(folder, slices):
    for number, each in enumerate(slices):
        each.RescaleSlope, each.RescaleIntercept = number + 1, -1024
    raw = np.random.default_rng(0).integers(-1000, 1000, GRID.shape)
    came = read_volume(write_slices(folder / "scaled", slices), 1)
    np.testing.assert_allclose(came.values[0], raw * np.arange(1, 6) - 1024)


def test_a_single_file_is_a_volume_of_one_slice(folder, slices):
    slices[0].save_as(folder / "one.dcm", enforce_file_format=True)
    came = read_volume(folder / "one.dcm", 1)
    assert came.grid.shape == (4, 3, 1)
    np.testing.assert_allclose(came.grid.affine[:, :3], GRID.affine[:, :3])


def test_other_files_of_the_folder_are_passed_over(folder, slices):
    series = write_slices(folder / "with_notes", slices)
    (series / "notes.txt").write_text("hello")
    assert read_volume(series, 1).grid.shape == GRID.shape


def two_series(slices):
    slices[1].SeriesInstanceUID = generate_uid()
    slices[1].SeriesDescription = "thorax"


def missing_slice(slices):
    del slices[2]


def same_place_twice(slices):
    slices.append(copy.deepcopy(slices[0]))
    slices[-1].SOPInstanceUID = generate_uid()


def tilted(slices):
    for number, each in enumerate(slices):
        x, y, z = each.ImagePositionPatient
        each.ImagePositionPatient = [x, y + 0.5 * number, z]


def another_plane(slices):
    slices[0].ImageOrientationPatient = [1, 0, 0, 0, 0, -1]


def another_size(slices):
    slices[3].Rows, slices[3].Columns = 2, 6


def another_spacing(slices):
    slices[3].PixelSpacing = [1, 1]


def no_position(slices):
    del slices[0].ImagePositionPatient


def many_frames(slices):
    slices[0].NumberOfFrames = 5


def flat(slices):
    for each in slices:
        each.PixelSpacing = [0, 1]


def colour(slices):
    slices[0].SamplesPerPixel = 3


def compressed(slices, syntax=JPEGLosslessSV1):
    if syntax == JPEGLosslessSV1 and pydicom.pixels.get_decoder(syntax).is_available:
        pytest.skip("a decoder of lossless JPEG is installed")
    slices[0].file_meta.TransferSyntaxUID = syntax
    slices[0].PixelData = pydicom.encaps.encapsulate([b"1234"])
    slices[0]["PixelData"].is_undefined_length = True
    del slices[1:]


def a_film(slices):
    compressed(slices, MPEG4HP41)


def cut_off(slices):
    slices[2].PixelData = slices[2].PixelData[:4]


BAD = {
    two_series: r"holds 2 series \((abdomen, thorax|thorax, abdomen)\)",
    missing_slice: "mixed spacings: 6 mm between",
    same_place_twice: "two slices in one place",
    tilted: "tilted gantry: slices are shifted by 9.46 degrees",
    another_plane: "several ImageOrientationPatient",
    another_size: "several Rows",
    another_spacing: "several PixelSpacing",
    no_position: "lacks ImagePositionPatient",
    many_frames: "multi-frame DICOM of 5 frames that do not say where they lie",
    flat: "cannot be inverted",
    colour: "in colour",
    compressed: r"compressed \(JPEG Lossless.*no decoder",
    a_film: r"compressed \(MPEG-4.*no decoder",
    cut_off: "cannot be read",
}


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_a_folder_that_is_no_volume_is_refused_in_a_line(tmp_path, slices, spoil):
    spoil(slices)
    series = write_slices(tmp_path / "series", slices)
    with pytest.raises(DataError, match=BAD[spoil]) as caught:
        read_volume(series, 1)
    assert "\n" not in str(caught.value)
    assert str(series) in str(caught.value)


def test_a_series_larger_than_memory_is_refused_before_it_is_read(folder, slices, monkeypatch):
    series = write_slices(folder / "large", slices)
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("", (), {"total": 50}))
    with pytest.raises(DataError, match="this machine has"):
        read_volume(series, 1)


def test_a_file_that_is_packed_as_a_whole_is_refused(folder, slices):
    for each in slices:
        each.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    series = write_slices(folder / "deflated", slices)
    with pytest.raises(DataError, match="is deflated DICOM, which is not read"):
        read_volume(series, 1)


def test_a_head_whose_numbers_are_none_is_named(folder, slices):
    """pydicom looks at a number only when it is asked for it."""
    series = write_slices(folder / "no_number", slices)
    first = sorted(series.iterdir())[0]
    spacing = "\\".join(map(str, slices[0].PixelSpacing)).encode()
    content = first.read_bytes()
    assert content.count(spacing) == 1
    first.write_bytes(content.replace(spacing, b"x" * len(spacing)))
    for read in (read_grid, lambda path: read_volume(path, 1)):
        with pytest.raises(DataError, match="no_number has a head that does not hold"):
            read(series)


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        (b"\x02\x00\x10\x00UI", b"\x02\x00\x16\x00UI"),  # another element
        (b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.1\0\0\0"),  # a UID of something else
    ],
)
def test_a_file_that_does_not_say_how_it_is_written_is_named(folder, slices, there, instead):
    file = folder / "unsaid.dcm"
    slices[0].save_as(file, enforce_file_format=True)
    content = file.read_bytes()
    assert content.count(there) == 1
    file.write_bytes(content.replace(there, instead))
    with pytest.raises(DataError, match=r"unsaid\.dcm"):
        read_volume(file, 1)


def test_pixels_that_are_not_those_of_the_header_are_refused(tmp_path, slices, monkeypatch):
    def colours(found):
        yield 0, np.zeros((4, 4, 3), dtype=np.float32)

    write_slices(tmp_path, slices)
    monkeypatch.setattr("hidiff.images.dicom._read_pixels", colours)
    with pytest.raises(DataError, match=r"holds pixels of shape \(4, 4, 3\), but its header says"):
        read_volume(tmp_path, 1)
