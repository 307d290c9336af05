"""NRRD (.nrrd, .nhdr): three axes in space and at most one of channels, in any order.

pynrrd reads the files. Added here are the checks that it lacks (files elsewhere, sizes, unpacking
without an end) and the grid of the voxels.
"""

import bz2
import io
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from hidiff.extras import import_extra
from hidiff.images.files import DataError
from hidiff.images.grid import Grid
from hidiff.images.slicer_segments import (
    ENDING,
    Segment,
    join_layers,
    label_values,
    read_segments,
)
from hidiff.images.units import read_unit
from hidiff.images.voxels import (
    Holds,
    Volume,
    check_affine,
    check_memory,
    check_numbers,
    data_beside,
)

# What "space" says -> the file's directions in RAS+ (http://teem.sourceforge.net/nrrd/format.html)
SPACES = {
    "left-posterior-superior": (-1.0, -1.0, 1.0),
    "lps": (-1.0, -1.0, 1.0),
    "right-anterior-superior": (1.0, 1.0, 1.0),
    "ras": (1.0, 1.0, 1.0),
    "left-anterior-superior": (-1.0, 1.0, 1.0),
    "las": (-1.0, 1.0, 1.0),
}


# Encoding -> what unpacks it.
UNPACKERS = {
    **dict.fromkeys(("gzip", "gz"), lambda: zlib.decompressobj(zlib.MAX_WBITS | 16)),
    **dict.fromkeys(("bzip2", "bz2"), bz2.BZ2Decompressor),
}
MOST_BYTES_EACH = 8  # of a number


def read_nrrd(path: Path, holds: Holds) -> Volume:
    """Return all voxels of a file.

    MONAI's reader handles no space but LPS, so pynrrd is called directly.
    """
    header = _read_header(path)
    grid = _grid(path, header)
    try:
        values = _read_values(path, header)
    except DataError:
        raise
    except Exception as error:  # zlib, EOF, its own: one for each way a file can be cut
        raise DataError(
            f"{path} cannot be read ({error}). It may be cut off: copy it again, or take it out."
        ) from None
    channel = [axis for axis in range(values.ndim) if axis not in _space_axes(path, header)]
    values = np.moveaxis(values, channel, range(len(channel))).reshape(-1, *grid.shape)
    values = check_numbers(path, values)
    if holds == "mask" and path.name.lower().endswith(ENDING):
        values = join_layers(path, values, _segments(path, header))
    return Volume(values, grid, path)


def read_nrrd_grid(path: Path, holds: Holds) -> Grid:
    """Return the grid of a file, read from its header alone."""
    return _grid(path, _read_header(path))


def read_class_names(path: Path) -> dict[int, str]:
    """Return the name of each label of a segmentation of 3D Slicer; none of other files.

    Labels of segments are numbered by the order in which a person made them, so that the same
    label may have another name in the next file.
    """
    if not path.name.lower().endswith(ENDING):
        return {}
    segments = _segments(path, _read_header(path))
    names = [segment.name for segment in segments]
    return dict(zip(label_values(segments), names, strict=True))


def _segments(path: Path, header: dict[str, Any]) -> list[Segment]:
    try:
        return read_segments(header)
    except ValueError as error:
        raise DataError(
            f"{path} has a segment whose layer or label is no number ({error}). Save it again."
        ) from None


def _read_values(path: Path, header: dict[str, Any]) -> np.ndarray:
    """Return the values that pynrrd reads, after checking what it does not check.

    It would open any other file, look for any number of lines, and unpack without an end.
    """
    nrrd = import_extra("nrrd", "formats", path)
    count = int(np.prod(header["sizes"], dtype=np.float64))
    skipped = max(int(header.get("byteskip", header.get("byte skip", 0))), 0)
    check_memory(path, 4 * count + skipped)
    name = header.get("datafile", header.get("data file"))
    place = path if name is None else data_beside(path, str(name))
    lines = int(header.get("lineskip", header.get("line skip", 0)))
    if not 0 <= lines <= place.stat().st_size:
        raise DataError(f"{path} skips {lines} lines of {place.name}, which has not as many.")
    with open(place, "rb") as file:
        if name is None:
            nrrd.read_header(file)  # the data come after it
        unpacker = UNPACKERS.get(str(header.get("encoding")))
        if unpacker is None:
            return nrrd.read_data(header, file, str(path), index_order="F")
        packed = file.read().split(b"\n", lines)[-1] if lines else file.read()
    most = MOST_BYTES_EACH * count + skipped
    content = unpacker().decompress(packed, most + 1)
    if len(content) > most:
        raise DataError(
            f"{place} unpacks to more than its header says. It may be damaged, or meant to fill "
            "the memory: take it out."
        )
    elsewhere = ("datafile", "data file", "lineskip", "line skip")
    plain = {key: value for key, value in header.items() if key not in elsewhere}
    plain["encoding"] = "raw"
    return nrrd.read_data(plain, io.BytesIO(content), index_order="F")


def _read_header(path: Path) -> dict[str, Any]:
    nrrd = import_extra("nrrd", "formats", path)
    try:
        return dict(nrrd.read_header(str(path)))
    except Exception as error:  # pynrrd lets zlib's, EOF and its own through
        raise DataError(
            f"{path} cannot be read as NRRD ({error}). It may be cut off or another kind of file: "
            "copy it again, or take it out."
        ) from None


def _grid(path: Path, header: dict[str, Any]) -> Grid:
    try:
        return _grid_of(path, header)
    except DataError:
        raise
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} has a header that does not say where its voxels lie "
            f"({type(error).__name__}: {error}). Mend it."
        ) from None


def _grid_of(path: Path, header: dict[str, Any]) -> Grid:
    axes = _space_axes(path, header)
    x, y, z = (int(header["sizes"][axis]) for axis in axes)
    space = str(header.get("space", "left-posterior-superior")).lower()
    if space not in SPACES:
        raise DataError(
            f"{path} has the space {space!r}, but one of {', '.join(SPACES)} is wanted. Convert it."
        )
    affine = np.eye(4)
    directions = header.get("space directions")
    if directions is not None:
        affine[:3, :3] = np.array([directions[axis] for axis in axes], dtype=np.float64).T
    else:
        spacings = header.get("spacings", np.ones(len(header["sizes"])))
        affine[:3, :3] = np.diag([spacings[axis] for axis in axes])
    affine[:3, 3] = header.get("space origin", np.zeros(3))
    factors, remarks = _units(header, axes)
    # each coordinate of space has its unit
    affine = np.diag([*np.multiply(SPACES[space], factors), 1.0]) @ affine
    check_affine(path, affine)
    return Grid((x, y, z), affine, remarks)


def _units(header: dict[str, Any], axes: list[int]) -> tuple[list[float], tuple[str, ...]]:
    """Return the millimetres in the unit of each direction in space, with remarks."""
    units = header.get("space units")
    if units is None and "space directions" not in header:  # spacings have units of their own
        units = header.get("units")
        units = units if units is None else [units[axis] for axis in axes]
    if isinstance(units, str):
        units = re.findall(r'"([^"]*)"', units) or units.split()
    read = [read_unit(str(unit)) for unit in (units or ["mm"] * 3)]
    if len(read) != 3:
        raise ValueError(f"3 space units are wanted, not {len(read)}")
    remarks = dict.fromkeys(remark for _, found in read for remark in found)
    return [factor for factor, _ in read], tuple(remarks)


def _space_axes(path: Path, header: dict[str, Any]) -> list[int]:
    """Return the three axes in space: those with a direction, or of the kind "domain"."""
    count = len(header["sizes"])
    directions = header.get("space directions")
    kinds = header.get("kinds", ["domain"] * count)
    if directions is not None:
        axes = [i for i in range(count) if directions[i] is not None]
        axes = [i for i in axes if not np.isnan(np.asarray(directions[i], dtype=float)).all()]
    else:
        axes = [i for i in range(count) if kinds[i] in ("domain", "space")]
    if len(axes) != 3 or count > 4 or 0 in header["sizes"]:
        raise DataError(
            f"{path} has the sizes {tuple(int(n) for n in header['sizes'])}, {len(axes)} of them "
            "in space, but three in space, and at most one of channels, are wanted."
        )
    return axes
