"""A volume's voxels on their grid, and the checks that every reader makes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Num

from hidiff.images.files import DataError
from hidiff.images.grid import Grid

Holds = Literal["image", "mask"]
"""the array to read from a file that may hold an image and its mask"""
Nan = Literal["refused", "background"]
"""what becomes of NaN in an image"""


@dataclass(frozen=True)
class Volume:
    """The voxels of one file, with the scale factors of its header applied."""

    values: Num[np.ndarray, "c x y z"]
    grid: Grid
    path: Path
    """the file or folder"""


def check_memory(path: Path, count: int) -> None:
    """Raise DataError for a volume of more bytes than there is memory."""
    import psutil  # deferred: pictures do without it

    whole = psutil.virtual_memory().total
    if count > whole:
        raise DataError(
            f"{path} unpacks to {count / 2**30:.1f} GiB, but this machine has "
            f"{whole / 2**30:.1f} GiB. Cut it in pieces, or use a larger machine."
        )


def data_beside(path: Path, name: str) -> Path:
    """Return the file that a header names for its voxels: beside it, and nowhere else."""
    file = path.parent / name
    try:
        there = Path(name).name == name and file.is_file()
    except OSError:  # a name that no file can have
        there = False
    if not there:
        raise DataError(
            f"{path} has its data in {name[:200]}, but one file beside it is wanted. Put it there, "
            "or convert both to one file."
        )
    return file


def check_affine(path: Path, affine: np.ndarray) -> None:
    """Raise DataError for an affine that does not say where voxels lie."""
    if not np.isfinite(affine).all():
        raise DataError(
            f"{path} has an affine with NaN or infinite numbers, so nobody knows where its voxels "
            "lie. Mend its header (e.g. copy it from the original image)."
        )
    # Brings all of nibabel, which pictures do without.
    from nibabel.orientations import io_orientation

    sides = np.linalg.norm(affine[:3, :3], axis=0)
    # by directions alone: a voxel of a microscope has a volume of 1e-15 cubic millimetres
    flat = not (np.isfinite(sides) & (sides > 0)).all()
    flat = flat or abs(np.linalg.det(affine[:3, :3] / sides)) < 1e-12
    if flat or np.isnan(io_orientation(affine)).any():
        raise DataError(
            f"{path} has an affine that cannot be inverted: two of its axes are the same, or a "
            "voxel's side is 0. Mend its header (e.g. copy it from the original image)."
        )


def check_numbers(path: Path, values: np.ndarray) -> np.ndarray:
    """Return one number a voxel, no larger than float32. Raises DataError for other types."""
    if values.dtype.kind not in "buif":
        raise DataError(
            f"{path} holds {values.dtype}, but one number a voxel is wanted. Convert it."
        )
    # a scale factor in the head makes float64 of every integer
    return values.astype(np.float32) if values.dtype == np.float64 else values


def fill_nan(values: Num[np.ndarray, "c *space"]) -> Num[np.ndarray, "c *space"]:
    """Return values with the background in place of NaN: the lowest number of the channel, or 0.

    The lower of the two counts: air in CT, 0 around a head in MRI. Infinite numbers stay.
    """
    if values.dtype.kind != "f" or not np.isnan(values).any():
        return values
    finite = np.where(np.isfinite(values), values, 0)
    lowest = finite.reshape(len(values), -1).min(axis=1)
    return np.where(np.isnan(values), lowest.reshape(-1, *[1] * (values.ndim - 1)), values).astype(
        values.dtype
    )


def ras_of_lps(affine: np.ndarray) -> np.ndarray:
    """Return the affine in nibabel's directions (right, front) from DICOM's (left, back)."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
