"""MetaImage (.mha, .mhd with its data beside it): a few lines of text, then the voxels.

Read here, because its libraries are large (installed, ITK takes 430 MB and SimpleITK 264 MB) and
would replace little: before they read the data they do not say which file holds it, so the header
would still be parsed here, to refuse foreign paths and sizes that do not fit.
https://itk.org/Wiki/MetaIO/Documentation
"""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hidiff.images.files import DataError
from hidiff.images.grid import Grid
from hidiff.images.units import read_unit
from hidiff.images.voxels import (
    Holds,
    Volume,
    check_affine,
    check_memory,
    check_numbers,
    data_beside,
    ras_of_lps,
)

TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2",
    "MET_INT": "i4", "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
MOST_HEADER = 2**16  # bytes of text


def read_metaimage(path: Path, holds: Holds) -> Volume:
    """Return all voxels of a file; channels are those of each element, or the fourth axis."""
    header, start = _read_header(path)
    grid, sides = _grid(path, header), _sides(path, header)
    channels = max(_whole(path, header, "ElementNumberOfChannels", 1.0)[0], 1)
    count = channels * int(np.prod(sides, dtype=np.float64))
    check_memory(path, count * 4)
    order = ">" if _flag(header, "BinaryDataByteOrderMSB", "ElementByteOrderMSB") else "<"
    dtype = np.dtype(order + TYPES[header["ElementType"]])
    content = _read_data(path, header, start, count * dtype.itemsize)
    # the first of the axes runs fastest, and channels before it
    values = np.frombuffer(content, dtype).reshape(channels, *sides, order="F")
    values = values.astype(dtype.newbyteorder("="), copy=False)
    values = np.moveaxis(values.reshape(channels, *grid.shape, -1, order="F"), -1, 0)
    return Volume(check_numbers(path, values).reshape(-1, *grid.shape), grid, path)


def read_metaimage_grid(path: Path, holds: Holds) -> Grid:
    """Return the grid of a file, read from its header alone."""
    return _grid(path, _read_header(path)[0])


def _read_header(path: Path) -> tuple[dict[str, str], int]:
    """Return the header's values by key, and the byte at which the header ends."""
    header: dict[str, str] = {}
    with open(path, "rb") as file:
        while file.tell() < MOST_HEADER:
            line = file.readline(MOST_HEADER).decode("latin-1")
            key, equals, value = line.partition("=")
            if not equals:
                break
            header[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":
                break
        start = file.tell()
    for key in ("NDims", "DimSize", "ElementType", "ElementDataFile"):
        if key not in header:
            raise DataError(
                f"{path} cannot be read as MetaImage: it has no {key}. It may be cut off or "
                "another kind of file: copy it again, or take it out."
            )
    if header["ElementType"] not in TYPES:
        raise DataError(
            f"{path} holds {header['ElementType']}, but one of {', '.join(TYPES)} is wanted. "
            "Convert it."
        )
    return header, start


def _sides(path: Path, header: Mapping[str, str]) -> list[int]:
    sides = _whole(path, header, "DimSize", 0.0)
    if not 2 <= len(sides) <= 4 or min(sides) < 1 or header["NDims"] != str(len(sides)):
        raise DataError(
            f"{path} has the DimSize {header['DimSize']}, but must give x y, x y z, or x y z and "
            "channels. Correct its header."
        )
    return sides


def _grid(path: Path, header: Mapping[str, str]) -> Grid:
    sides = _sides(path, header)
    count = len(sides)
    spacing = _numbers(path, header, ["ElementSpacing", "ElementSize"], [1.0] * count)
    origin = _numbers(path, header, ["Offset", "Position", "Origin"], [0.0] * count)
    turn = _numbers(
        path, header, ["TransformMatrix", "Rotation", "Orientation"], np.eye(count).ravel().tolist()
    )
    if (len(spacing), len(origin), len(turn)) != (count, count, count**2):
        raise DataError(
            f"{path} has {count} axes, but an ElementSpacing, Offset or TransformMatrix of another "
            "number. Mend its header."
        )
    used = min(count, 3)
    affine = np.eye(4)
    # each row of the matrix is the direction of one axis
    directions = np.reshape(turn, (count, count))[:used, :used].T
    affine[:used, :used] = directions * np.array(spacing[:used])
    affine[:used, 3] = origin[:used]
    factor, remarks = read_unit(header.get("DistanceUnits", ""))
    affine[:3] *= factor
    affine = ras_of_lps(affine)
    check_affine(path, affine)
    x, y, z = (*sides[:3], 1)[:3]
    return Grid((x, y, z), affine, remarks)


def _numbers(
    path: Path, header: Mapping[str, str], keys: Sequence[str], default: Sequence[float]
) -> list[float]:
    for key in keys:
        if key in header:
            try:
                found = [float(word) for word in header[key].split()]
            except ValueError:
                found = []
            if not found:
                raise DataError(
                    f"{path} has the {key} {header[key][:200]!r}, but numbers are wanted. Mend it."
                )
            return found
    return list(default)


def _whole(path: Path, header: Mapping[str, str], key: str, default: float) -> list[int]:
    found = _numbers(path, header, [key], [default])
    if not all(each.is_integer() for each in found):  # nor are NaN and infinity
        raise DataError(
            f"{path} has the {key} {header[key][:200]!r}, but whole numbers are wanted. Mend it."
        )
    return [int(each) for each in found]


def _flag(header: Mapping[str, str], *keys: str) -> bool:
    return any(header.get(key, "False").lower() == "true" for key in keys)


def _read_data(path: Path, header: Mapping[str, str], start: int, length: int) -> bytes:
    name, file = header["ElementDataFile"], path
    if name != "LOCAL":
        file = data_beside(path, name)
        start = _whole(path, header, "HeaderSize", 0.0)[0]
    with open(file, "rb") as opened:
        opened.seek(max(start, 0))
        content = opened.read()
    if _flag(header, "CompressedData"):
        try:
            # no more than the header says: a few kilobytes can unpack to terabytes
            content = zlib.decompressobj().decompress(content, length + 1)
        except zlib.error as error:
            raise DataError(f"{file} cannot be unpacked ({error}). Copy it again.") from None
    if len(content) != length:
        raise DataError(
            f"{file} has {len(content)} bytes of voxels, but its header says {length}. It may be "
            "cut off: copy it again, or take it out."
        )
    return content
