"""DICOM: a folder of single slices of one series, put in order by where they lie."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hidiff.extras import import_extra
from hidiff.images.files import DataError, visible_files
from hidiff.images.grid import Grid
from hidiff.images.voxels import Holds, Volume, check_affine, check_memory, ras_of_lps

# What places a slice; read of every file before any of its pixels.
PLACING = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
HEADS = (
    *PLACING, "SeriesInstanceUID", "SeriesDescription", "NumberOfFrames", "SamplesPerPixel",
    "SliceThickness", "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept",
)  # fmt: skip

MOST_TILT = 0.1  # degrees
MOST_UNEVEN = 0.01  # of the way between two slices


def is_dicom(path: Path) -> bool:
    """Whether a file holds DICOM, or a folder any such file, by the mark at byte 128."""
    if path.is_dir():
        return any(is_dicom(file) for file in visible_files(path) if file.is_file())
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_dicom(path: Path, holds: Holds) -> Volume:
    """All slices of a series, or of a single file, with rescale slope and intercept applied.

    MONAI's reader sorts by instance number and warns of uneven slices, so pydicom is asked itself.
    """
    with _said(path):
        series = _read_series(path)
        grid = _grid(path, series)
        _check_decoder(series[0][0])
    dcmread = import_extra("pydicom", "dicom", path).dcmread
    apply_rescale = import_extra("pydicom.pixels", "dicom", path).apply_rescale
    check_memory(path, int(np.prod(grid.shape, dtype=np.float64)) * 4)
    columns, rows, depth = grid.shape
    values = np.empty((depth, rows, columns), dtype=np.float32)
    for place, (file, _) in zip(values, series, strict=True):
        try:
            slice = dcmread(file)
            place[:] = apply_rescale(slice.pixel_array, slice)
        except Exception as error:  # pydicom and its decoders have one for each way to be wrong
            words = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"{file} cannot be read ({words}). It may be cut off: copy it again."
            ) from None
    return Volume(values.transpose(2, 1, 0)[None], grid, path)


def read_dicom_grid(path: Path, holds: Holds) -> Grid:
    """From the heads of all slices."""
    with _said(path):
        return _grid(path, _read_series(path))


def dicom_files(path: Path) -> list[Path]:
    """The slices' files in the order of the volume's z."""
    with _said(path):
        return [file for file, _ in _read_series(path)]


@contextlib.contextmanager
def _said(path: Path) -> Iterator[None]:
    """What pydicom raises of a head that does not hold, as a DataError that names the file."""
    try:
        yield
    except (DataError, ImportError):
        raise
    except Exception as error:  # pydicom reads a number only when asked for it, and has many errors
        raise DataError(
            f"{path} has a head that does not hold ({type(error).__name__}: {error}). Copy it "
            "again, or take it out."
        ) from None


def _read_series(path: Path) -> list[tuple[Path, Any]]:
    """Each slice's file and head, sorted along the slices' normal; checked to be one series."""
    pydicom = import_extra("pydicom", "dicom", path)
    files = visible_files(path) if path.is_dir() else [path]
    found = []
    for file in files:
        if not is_dicom(file) or file.is_dir() or file.name == "DICOMDIR":
            continue
        try:
            _check_packing(file)
            found.append((file, pydicom.dcmread(file, specific_tags=list(HEADS))))
        except DataError:
            raise
        except Exception as error:  # pydicom has one for each way to be wrong
            raise DataError(
                f"{file} cannot be read as DICOM ({error}). Copy it again, or take it out."
            ) from None
    if not found:
        raise DataError(f"{path} holds no DICOM file. Check the path.")
    for file, head in found:
        _check_slice(file, head)
    _check_one_series(path, found)
    normal = _normal(found[0][1])
    return sorted(found, key=lambda each: float(normal @ _position(each[1])))


def _check_packing(file: Path) -> None:
    """Raise DataError for a file that is packed as a whole: pydicom unpacks it without an end."""
    uids = import_extra("pydicom.uid", "dicom", file)
    read_meta = import_extra("pydicom.filereader", "dicom", file).read_file_meta_info
    if read_meta(file).get("TransferSyntaxUID") == uids.DeflatedExplicitVRLittleEndian:
        raise DataError(
            f"{file} is deflated DICOM, which is not read, as a small file may hold more than the "
            "memory holds. Unpack it, e.g. with dcmconv."
        )


def _check_slice(file: Path, head: Any) -> None:
    frames = int(head.get("NumberOfFrames") or 1)
    if frames > 1:
        raise DataError(
            f"{file} is multi-frame (enhanced) DICOM of {frames} frames, but a file a slice is "
            "wanted. Convert it to NIfTI, e.g. with dcm2niix."
        )
    lacking = [name for name in PLACING if head.get(name) is None]
    if lacking:
        raise DataError(
            f"{file} lacks {' and '.join(lacking)}, so nobody knows where its pixels lie. "
            "Take it out, or convert the series with a tool that knows its scanner."
        )
    if int(head.get("SamplesPerPixel") or 1) != 1:
        raise DataError(f"{file} is in colour, but one number a pixel is wanted. Take it out.")


def _check_one_series(path: Path, found: Sequence[tuple[Path, Any]]) -> None:
    """Raise DataError for slices that make no volume: of two series, two sizes, two directions."""
    names = {
        str(head.get("SeriesInstanceUID")): str(head.get("SeriesDescription") or "without a name")
        for _, head in found
    }
    if len(names) > 1:
        raise DataError(
            f"{path} holds {len(names)} series ({', '.join(names.values())}), but one is wanted. "
            "Give each a folder of its own."
        )
    first_file, first = found[0]
    for file, head in found[1:]:
        for name in ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient"):
            came, wanted = (np.atleast_1d(each.get(name)).astype(float) for each in (head, first))
            if not np.allclose(came, wanted, atol=1e-3):
                raise DataError(
                    f"{path} holds slices of several {name}: {came.tolist()} in {file.name}, "
                    f"{wanted.tolist()} in {first_file.name}. Take out those that are no slices of "
                    "the volume (a scout view, another plane)."
                )


def _grid(path: Path, series: Sequence[tuple[Path, Any]]) -> Grid:
    """Where the voxels (column, row, slice) lie, of slices in order."""
    head = series[0][1]
    along_row, along_column = _directions(head)
    down, across = (float(side) for side in head.PixelSpacing)
    places = np.array([_position(each) for _, each in series])
    affine = np.eye(4)
    affine[:3, 0] = along_row * across
    affine[:3, 1] = along_column * down
    affine[:3, 2] = _step(path, series, places)
    affine[:3, 3] = places[0]
    affine = ras_of_lps(affine)
    check_affine(path, affine)
    return Grid((int(head.Columns), int(head.Rows), len(series)), affine)


def _step(path: Path, series: Sequence[tuple[Path, Any]], places: np.ndarray) -> np.ndarray:
    """From one slice to the next, in mm. Raises DataError where slices are tilted or uneven."""
    head = series[0][1]
    normal = _normal(head)
    if len(series) == 1:
        return normal * float(head.get("SpacingBetweenSlices") or head.get("SliceThickness") or 1)
    steps = np.diff(places @ normal)
    usual = float(np.median(steps))
    names = [file.name for file, _ in series]
    odd = int(np.abs(steps - usual).argmax())
    if steps.min() < MOST_UNEVEN * max(usual, 1e-3):
        twice = int(steps.argmin())
        raise DataError(
            f"{path} holds two slices in one place: {names[twice]} and {names[twice + 1]}. Give "
            "each time point, or echo, a folder of its own."
        )
    if abs(steps[odd] - usual) > MOST_UNEVEN * usual:
        raise DataError(
            f"{path} has mixed spacings: {steps[odd]:.4g} mm between {names[odd]} and "
            f"{names[odd + 1]}, {usual:.4g} mm between others. Add the missing slices, or resample "
            "the series."
        )
    whole = places[-1] - places[0]
    tilt = np.degrees(np.arccos(np.clip(whole @ normal / np.linalg.norm(whole), -1, 1)))
    if tilt > MOST_TILT:
        raise DataError(
            f"{path} was taken with a tilted gantry: slices are shifted by {tilt:.2f} degrees "
            "against each other. Resample it to a straight volume first, e.g. with dcm2niix."
        )
    return whole / (len(series) - 1)


def _directions(head: Any) -> tuple[np.ndarray, np.ndarray]:
    values = np.array([float(each) for each in head.ImageOrientationPatient])
    return values[:3], values[3:]


def _normal(head: Any) -> np.ndarray:
    return np.cross(*_directions(head))


def _position(head: Any) -> np.ndarray:
    return np.array([float(each) for each in head.ImagePositionPatient])


def _check_decoder(file: Path) -> None:
    """Raise DataError for pixels in a compression that nothing here can undo."""
    pydicom = import_extra("pydicom", "dicom", file)
    get_decoder = import_extra("pydicom.pixels", "dicom", file).get_decoder
    syntax = pydicom.dcmread(file, stop_before_pixels=True).file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        return
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise DataError(
            f"{file} is compressed ({syntax.name}), and no decoder for it is installed. Install "
            "one (pip install python-gdcm), or unpack the files (gdcmconv --raw)."
        )
