"""NIfTI (.nii, .nii.gz): 2-D, 3-D, or 4-D with the channels last."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hidiff.images.files import DataError
from hidiff.images.grid import MOST_APART, Grid, voxels_apart
from hidiff.images.units import read_unit
from hidiff.images.voxels import Holds, Volume, check_affine, check_memory, check_numbers

if TYPE_CHECKING:  # imported when a NIfTI comes: pictures do without nibabel
    import nibabel

# The lowest three bits of xyzt_units: the unit of lengths. 0 means that the header has none.
UNITS = {0: "", 1: "m", 2: "mm", 3: "um"}
# The next three: the unit of a fourth axis that is time (s, ms, us).
TIME, TIME_UNITS = 0x38, (8, 16, 24)


def read_nifti(path: Path, holds: Holds) -> Volume:
    """Return all voxels of a file."""
    opened = open_nifti(path)
    grid = _grid(path, opened)
    bytes_each = max(4, opened.header.get_data_dtype().itemsize)
    check_memory(path, int(np.prod(opened.shape, dtype=np.float64)) * bytes_each)
    try:
        values = np.asanyarray(opened.dataobj)
    except Exception as error:  # zlib, EOF, struct, ... one for each way a file can be cut
        raise DataError(
            f"{path} cannot be read ({error}). It may be cut off: copy it again, or take it out."
        ) from None
    values = check_numbers(path, values).reshape(*grid.shape, -1)
    return Volume(np.moveaxis(values, -1, 0), grid, path)


def read_nifti_grid(path: Path, holds: Holds) -> Grid:
    """Return the grid of a file, read from its header alone."""
    return _grid(path, open_nifti(path))


def open_nifti(path: Path) -> "nibabel.Nifti1Pair":
    """Open a file's header, with the voxels still in the file."""
    import nibabel as nib

    if not path.is_file():
        raise DataError(f"{path} is not there, or is no file. Check the data folder's path.")
    try:
        opened = nib.load(path)
    except Exception as error:  # nibabel has several for a wrong head, zlib and the system more
        raise DataError(
            f"{path} cannot be read as NIfTI ({error}). It may be cut off or another kind of file: "
            "copy it again, or take it out."
        ) from None
    if not isinstance(opened, nib.Nifti1Pair):
        raise DataError(f"{path} is {type(opened).__name__}, but NIfTI is wanted. Convert it.")
    return opened


def _grid(path: Path, opened: "nibabel.Nifti1Pair") -> Grid:
    shape = opened.shape
    used = shape[:3] + tuple(side for side in shape[3:] if side != 1)
    if not 2 <= len(used) <= 4 or min(shape) < 1:
        raise DataError(
            f"{path} has the shape {shape}, but (x, y), (x, y, z) or (x, y, z, channels) is wanted."
        )
    x, y, z = (*used[:3], 1)[:3]
    code = int(opened.header["xyzt_units"]) & 7
    factor, remarks = read_unit(UNITS.get(code, f"code {code}"))
    scale = np.diag([factor, factor, factor, 1.0])
    affine = scale @ np.asarray(opened.affine, dtype=np.float64)
    check_affine(path, affine)
    grid = Grid((x, y, z), affine)
    remarks += _compare_forms(opened, grid, scale) + _missing_place(opened)
    over_time = len(shape) == 4 and int(opened.header["xyzt_units"]) & TIME in TIME_UNITS
    return Grid(grid.shape, affine, remarks, over_time)


def _compare_forms(opened: "nibabel.Nifti1Pair", grid: Grid, scale: np.ndarray) -> tuple[str, ...]:
    """Return a remark where the header's two affines place the voxels differently."""
    header = opened.header
    if not (int(header["qform_code"]) > 0 and int(header["sform_code"]) > 0):
        return ()
    try:
        qform = Grid(grid.shape, scale @ np.asarray(header.get_qform(), dtype=np.float64))
        apart = voxels_apart(grid, qform)
    except Exception:  # nibabel has several for a quaternion that is none; the sform counts
        apart = np.nan
    if apart <= MOST_APART:
        return ()
    return ("qform and sform place the voxels differently: the sform is used",)


def _missing_place(opened: "nibabel.Nifti1Pair") -> tuple[str, ...]:
    """Return a remark where the header does not say how the voxels lie in the patient."""
    if int(opened.header["sform_code"]) > 0 or int(opened.header["qform_code"]) > 0:
        return ()
    return ("the header says nothing of directions (no qform, no sform): x is read as to the left",)
