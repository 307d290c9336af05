"""Large arrays on the disk: mapped into memory, in files that vanish when nobody uses them."""

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from hidiff.images.files import DataError
from hidiff.images.voxels import check_memory

LARGE = 2**28  # bytes: arrays from here on lie on the disk
CHUNK = 2**24  # bytes read at once
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def make_room(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """Return an array of zeros; a large one lies in an unnamed file, mapped into memory."""
    size = int(np.prod(shape, dtype=np.float64)) * np.dtype(dtype).itemsize
    if size < LARGE:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile(prefix="hidiff-") as file:
        return np.memmap(file, np.dtype(dtype), "w+", shape=shape)


def list_npz(path: Path) -> list[str]:
    """Return the names of the arrays in an archive. Raises DataError for a file that is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read as an archive of arrays ({error}). It may be cut off: copy it "
            "again."
        ) from None


def read_npz(path: Path, name: str) -> np.ndarray:
    """Return one array of an archive, unpacked piece by piece; never unpickles.

    Raises DataError for an array that does not read, holds no numbers, or is larger than memory.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            shape, by_columns, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
            if dtype.kind not in "buif":
                raise DataError(
                    f"{path} holds {dtype} as {name}, but numbers are wanted. Save it as numbers."
                )
            check_memory(path, int(np.prod(shape, dtype=np.float64)) * dtype.itemsize)
            values = make_room(shape[::-1] if by_columns else shape, dtype)
            _fill(file, values)
            return values.T if by_columns else values
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and numpy have one for each way to be wrong
        raise DataError(
            f"{path} cannot be read as an array ({error}). It may be cut off, or hold Python "
            "objects, which are never unpickled. Save it again as plain numbers."
        ) from None


def _fill(file: Any, values: np.ndarray) -> None:
    """Read the bytes of an array. Raises ValueError if there are too few."""
    flat = values.reshape(-1).view(np.uint8)
    for start in range(0, flat.size, CHUNK):
        part = file.read(min(CHUNK, flat.size - start))
        if len(part) < min(CHUNK, flat.size - start):
            raise ValueError("there are fewer numbers than its header says")
        flat[start : start + len(part)] = np.frombuffer(part, np.uint8)
