"""Public reports on DICOM, what is read and the SEG that is written, rebuilt in a few pixels."""

from pathlib import Path

import numpy as np
import pydicom
from report_table import REFUSED, refused, report

from hidiff.images import Grid
from hidiff.prediction.writers import write_prediction
from tests.dicom_series import LPS, decimals, make_slices, write_slices
from tests.images.test_dicom_kinds import make_enhanced, make_projection
from tests.volumes import Echo, make_grid, make_mask, read_volume

GRID = Grid((8, 6, 5), make_grid(8, 6, 5).affine @ np.diag([1, -1, 1, 1]))
VALUES = np.random.default_rng(0).integers(-1000, 1000, GRID.shape)
MASK = make_mask(GRID).astype(int)


def series(folder: Path, values: np.ndarray = VALUES, grid: Grid = GRID, **tags: object) -> Path:
    """Write a series with these tags in every slice."""
    slices = make_slices(values, grid)
    for head in slices:
        for name, value in tags.items():
            setattr(head, name, value)
    return write_slices(folder / "series", slices)


def read(path: Path) -> np.ndarray:
    return read_volume(path, 1).values[0]


def places_in_seg(path: Path) -> dict[tuple[float, ...], int]:
    """Return where the corner pixel of each frame of a SEG lies, by its own geometry."""
    seg = pydicom.dcmread(path)
    frames = seg.PerFrameFunctionalGroupsSequence
    return {
        tuple(float(x) for x in frame.PlanePositionSequence[0].ImagePositionPatient): number
        for number, frame in enumerate(frames)
    }


@report("icometrix/dicom2nifti", 13, "signed numbers of 12 bits in 16, their upper bits empty")
def signed_twelve_bits(folder: Path) -> None:
    slices = make_slices(VALUES, GRID)
    for z, head in enumerate(slices):
        head.BitsStored, head.HighBit, head.PixelRepresentation = 12, 11, 1
        head.PixelData = (VALUES[:, :, z].T & 0x0FFF).astype("<u2").tobytes()
    assert (read(write_slices(folder / "series", slices)) == VALUES).all()


@report("icometrix/dicom2nifti", 144, "the lowest number of 16 bits overflowed")
def lowest_number(folder: Path) -> None:
    values = VALUES.copy()
    values[0] = -32768
    assert (read(series(folder, values)) == values).all()


@report("rexcardan/Evil-DICOM", 107, "unsigned numbers above 32767 read as negative")
def highest_bit(folder: Path) -> None:
    values = np.abs(VALUES) * 60
    slices = make_slices(VALUES, GRID)
    for z, head in enumerate(slices):
        head.PixelRepresentation = 0
        head.PixelData = np.ascontiguousarray(values[:, :, z].T, "<u2").tobytes()
    assert (read(write_slices(folder / "series", slices)) == values).all()


@report("moloney/dcmstack", 49, "PET with a slope of 5.36: values beyond 16 bits")
def large_slope(folder: Path) -> None:
    came = read(series(folder, np.abs(VALUES) * 30, RescaleSlope="5.3612170781579"))
    np.testing.assert_allclose(came, np.abs(VALUES) * 30 * 5.3612170781579, rtol=1e-6)


@report("ivmartel/dwv", 80, "PET: every slice has a slope of its own")
def slope_of_each_slice(folder: Path) -> None:
    slices = make_slices(VALUES, GRID)
    for z, head in enumerate(slices):
        head.RescaleSlope, head.RescaleIntercept = z + 1, -z
    wanted = VALUES * np.arange(1, 6) - np.arange(5)
    assert (read(write_slices(folder / "series", slices)) == wanted).all()


@report("OHIF/Viewers", 127, "CR of 8 bits with a slope of -10 and an intercept of 3000")
def negative_slope(folder: Path) -> None:
    assert (
        read(series(folder, RescaleSlope=-10, RescaleIntercept=3000)) == 3000 - 10 * VALUES
    ).all()


@report("pydicom/pydicom", 2353, "enhanced files: slopes of frames are left out")
def slope_of_each_frame(folder: Path) -> None:
    file = folder / "enhanced.dcm"
    make_enhanced(VALUES, GRID).save_as(file, enforce_file_format=True)
    assert (read(file) == 2 * VALUES + np.arange(5)).all()


@report("Project-MONAI/monai-deploy-app-sdk", 282, "MONOCHROME1 is not inverted for the network")
def low_is_white(folder: Path) -> None:
    positive = np.abs(VALUES)
    tags = {"PixelRepresentation": 0, "BitsStored": 12, "HighBit": 11}
    plain = read(series(folder / "a", positive, **tags))
    inverted = series(
        folder / "b", 4095 - positive, **tags, PhotometricInterpretation="MONOCHROME1"
    )
    assert (read(inverted) == plain).all()


@report("wasserth/TotalSegmentator", 598, "DICOM SEG mirrored where columns run to the front")
def columns_to_the_front(folder: Path) -> None:
    turned = Grid(GRID.shape, make_grid(8, 6, 5).affine)  # columns run to the front: (0, -1, 0)
    path = series(folder, MASK, turned)
    assert seg_agrees(path, MASK, turned, folder)


@report("ImagingDataCommons/highdicom", 117, "slices given in another order than they lie in")
def order_of_files(folder: Path) -> None:
    slices = make_slices(MASK, GRID)
    for number, head in enumerate(slices):
        head.InstanceNumber = 100 - number  # against the direction of z
    path = write_slices(folder / "series", slices)
    assert (read(path) == MASK).all() and seg_agrees(path, MASK, GRID, folder)


@report("ImagingDataCommons/highdicom", 330, "SEG of a multi-frame file: frames in reverse order")
def frames_in_reverse(folder: Path) -> None:
    file = folder / "enhanced.dcm"
    make_enhanced(MASK, GRID, slope=1).save_as(file, enforce_file_format=True)
    assert seg_agrees(file, MASK, GRID, folder)


def seg_agrees(path: Path, mask: np.ndarray, grid: Grid, folder: Path) -> bool:
    """Return whether every pixel of every frame has its class at its place in the patient."""
    [written] = write_prediction(Echo().predict(path), folder / "out", stem="a")
    seg = pydicom.dcmread(written)
    shared = seg.SharedFunctionalGroupsSequence[0]
    across, down = np.array(
        [float(x) for x in shared.PlaneOrientationSequence[0].ImageOrientationPatient]
    ).reshape(2, 3)
    rows, columns = (float(x) for x in shared.PixelMeasuresSequence[0].PixelSpacing)
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    found = np.zeros_like(mask)
    inverse = np.linalg.inv(LPS @ grid.affine)
    for frame, plane in zip(seg.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        corner = np.array([float(x) for x in frame.PlanePositionSequence[0].ImagePositionPatient])
        for row, column in np.argwhere(plane):
            place = corner + across * columns * column + down * rows * row
            voxel = np.rint((inverse @ [*place, 1])[:3]).astype(int)
            found[tuple(voxel)] = (0, 1, 2, 4)[number]
    return bool((found == mask).all())


@report("ImagingDataCommons/highdicom", 159, "SEG of mammography, which lacks position and frame")
def seg_of_a_projection(folder: Path) -> None:
    head = make_projection()
    head.PixelData = np.ones((head.Rows, head.Columns), "<i2").tobytes()
    head.save_as(folder / "view.dcm", enforce_file_format=True)
    [written] = write_prediction(Echo().predict(folder / "view.dcm"), folder / "out", stem="a")
    assert pydicom.dcmread(written).pixel_array.all()


@report("ImagingDataCommons/highdicom", 369, "cine: frames that share one place in the patient")
def one_place_many_times(folder: Path) -> str:
    slices = make_slices(VALUES, GRID)
    for head in slices:
        head.ImagePositionPatient = slices[0].ImagePositionPatient
    path = write_slices(folder / "series", slices)
    return refused(lambda: read(path), "two slices in one place", "time point")


@report("rordenlab/dcm2niix", 248, "150 slices, of which those in the middle are missing")
def missing_slices(folder: Path) -> str:
    slices = make_slices(np.repeat(VALUES, 2, axis=2), Grid((8, 6, 10), GRID.affine))
    del slices[3:7]
    path = write_slices(folder / "series", slices)
    return refused(lambda: read(path), "mixed spacings", "missing slices")


@report("rordenlab/dcm2niix", 539, "a slice that is there twice, with other pixels")
def a_slice_twice(folder: Path) -> str:
    slices = [*make_slices(VALUES, GRID), make_slices(VALUES + 1, GRID)[2]]
    slices[-1].SeriesInstanceUID = slices[0].SeriesInstanceUID
    path = write_slices(folder / "series", slices)
    return refused(lambda: read(path), "two slices in one place")


@report("rordenlab/dcm2niix", 427, "two stacks of other directions in one series")
def two_directions(folder: Path) -> str:
    slices = make_slices(VALUES, GRID)
    for head in slices[::2]:
        head.ImageOrientationPatient = decimals([1, 0, 0, 0, 0.98, 0.199])
    path = write_slices(folder / "series", slices)
    return refused(lambda: read(path), "ImageOrientationPatient")


@report("wasserth/TotalSegmentator", 610, "head CT with a tilted gantry")
def tilted_gantry(folder: Path) -> str:
    slices = make_slices(VALUES, GRID)
    for z, head in enumerate(slices):
        x, y, height = (float(each) for each in head.ImagePositionPatient)
        head.ImagePositionPatient = decimals([x, y + 0.3 * z, height])
    path = write_slices(folder / "series", slices)
    return refused(lambda: read(path), "tilted gantry", "dcm2niix")


@report("Project-MONAI/MONAI", 8265, "a colour film of ultrasound: frames taken for rows")
def colour_film(folder: Path) -> str:
    head = make_projection()
    head.NumberOfFrames, head.SamplesPerPixel, head.PlanarConfiguration = 3, 3, 0
    head.PhotometricInterpretation, head.BitsAllocated = "RGB", 8
    head.BitsStored, head.HighBit, head.PixelRepresentation = 8, 7, 0
    head.PixelData = bytes(3 * head.Rows * head.Columns * 3)
    head.save_as(folder / "film.dcm", enforce_file_format=True)
    outcome = refused(lambda: read(folder / "film.dcm"), "film.dcm")
    assert outcome == REFUSED
    return outcome
