"""DICOM: the slices of one series, or the frames of one file, in the order of where they lie."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from hidiff.extras import import_extra
from hidiff.images.dicom_grid import find_grid, sort_slices
from hidiff.images.dicom_series import Slice, as_data_errors, is_dicom, read_slices
from hidiff.images.files import DataError
from hidiff.images.grid import Grid
from hidiff.images.voxels import Holds, Volume, check_memory

__all__ = ["dicom_slices", "is_dicom", "read_dicom", "read_dicom_grid"]


def read_dicom(path: Path, holds: Holds) -> Volume:
    """Read all slices of a series, or of a single file, and apply rescale slope and intercept.

    pydicom is called directly, because MONAI's reader sorts slices by instance number and only
    warns of uneven ones.
    """
    with as_data_errors(path):
        slices = sort_slices(read_slices(path))
        grid = find_grid(path, slices)
        _check_decoder(slices[0].file)
    check_memory(path, int(np.prod(grid.shape, dtype=np.float64)) * 4)
    columns, rows, depth = grid.shape
    values = np.empty((depth, rows, columns), dtype=np.float32)
    for number, pixels in _read_pixels(slices):
        if pixels.shape != (rows, columns):
            raise DataError(
                f"{slices[number].file} holds pixels of shape {pixels.shape}, but its header says "
                f"{rows} rows and {columns} columns of grey. Write it again from its source."
            )
        values[number] = pixels
    return Volume(values.transpose(2, 1, 0)[None], grid, path)


def read_dicom_grid(path: Path, holds: Holds) -> Grid:
    """Return the grid, read from the headers of all slices."""
    with as_data_errors(path):
        return find_grid(path, sort_slices(read_slices(path)))


def dicom_slices(path: Path) -> list[Slice]:
    """Return the slices in the order of the volume's z."""
    with as_data_errors(path):
        return sort_slices(read_slices(path))


def _read_pixels(slices: Sequence[Slice]) -> Iterator[tuple[int, Float[np.ndarray, "h w"]]]:
    """Yield each slice's number with its values. A file of many frames is opened once."""
    dcmread = import_extra("pydicom", "dicom", slices[0].file).dcmread
    opened, stored = None, np.empty(0)
    for number, slice in enumerate(slices):
        try:
            if opened is None or opened[0] != slice.file:
                dataset = with_syntax(dcmread(slice.file, force=True))
                opened, stored = (slice.file, dataset), dataset.pixel_array
            pixels = (
                stored
                if slice.frame is None
                else stored.reshape(-1, *stored.shape[-2:])[slice.frame]
            )
            yield number, _rescale(pixels, opened[1], slice)
        except Exception as error:  # pydicom and its decoders have one for each way to be wrong
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"{slice.file} cannot be read ({reason}). It may be cut off: copy it again."
            ) from None


def with_syntax(dataset: Any) -> Any:
    """Return a data set that names its encoding, which files without a meta header do not.

    A meta header that does not name it is damaged, and nothing is guessed.
    """
    uids = import_extra("pydicom.uid", "dicom")
    implicit, little = dataset.original_encoding
    if len(dataset.file_meta) == 0:
        explicit = uids.ExplicitVRLittleEndian if little else uids.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = uids.ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _rescale(stored: Num[np.ndarray, "h w"], dataset: Any, slice: Slice) -> Num[np.ndarray, "h w"]:
    """Return values as the header means them: white is high, slope and intercept are applied."""
    if str(dataset.get("PhotometricInterpretation")) == "MONOCHROME1":
        stored = _invert(stored, dataset)
    if slice.frame is None:
        return import_extra("pydicom.pixels", "dicom").apply_rescale(stored, dataset)
    slope, intercept = slice.head.get("RescaleSlope"), slice.head.get("RescaleIntercept")
    return stored * float(1 if slope is None else slope) + float(intercept or 0)


def _invert(stored: Num[np.ndarray, "h w"], dataset: Any) -> Num[np.ndarray, "h w"]:
    """Swap the ends of the range that the stored bits allow, so that white is high."""
    bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation)
    ends = -1 if signed else 2**bits - 1  # the sum of the lowest and the highest number
    return ends - stored.astype(np.int64)


def _check_decoder(file: Path) -> None:
    """Raise DataError for pixels in a compression that nothing here can undo."""
    pydicom = import_extra("pydicom", "dicom", file)
    get_decoder = import_extra("pydicom.pixels", "dicom", file).get_decoder
    head = with_syntax(pydicom.dcmread(file, stop_before_pixels=True, force=True))
    syntax = head.file_meta.TransferSyntaxUID
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
