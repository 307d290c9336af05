"""The grid of a volume: places of voxels in the patient; slices cut out and put back."""

from dataclasses import dataclass, field
from types import ModuleType
from typing import Literal

import numpy as np
from jaxtyping import Float, Num, Shaped

Plane = Literal["axial", "coronal", "sagittal"]

# Where slices, rows and columns go to: Superior, Posterior, Left, and so on. A slice then lies on
# a screen as radiologists have it: the front, or the top, above; the patient's left on the right.
PLANES: dict[Plane, tuple[str, str, str]] = {
    "axial": ("S", "P", "L"),
    "coronal": ("P", "I", "L"),
    "sagittal": ("L", "I", "P"),
}

MOST_APART = 0.01  # of a voxel's side, between grids that count as the same


@dataclass(frozen=True)
class Grid:
    """A volume's voxels as its file has them: (x, y, z), nibabel's order."""

    shape: tuple[int, int, int]
    affine: Float[np.ndarray, "4 4"]
    """voxel -> mm in the patient, x to the right, y to the front, z up (RAS+)"""
    remarks: tuple[str, ...] = field(default=(), compare=False)
    """choices that the reader had to make, as the header leaves them open"""
    over_time: bool = field(default=False, compare=False)
    """True if the header says that a fourth axis is time"""

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxels along the file's axes x, y, z."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    @property
    def axes(self) -> str:
        """Return where the axes x, y, z go to, such as RAS: right, front (anterior), up."""
        return "".join(_orientations().aff2axcodes(self.affine))

    def slice_shape(self, plane: Plane) -> tuple[int, int, int]:
        """Return the number of slices, rows and columns of a plane."""
        d, h, w = (self.shape[axis] for axis in _axes(_turn(self.affine, plane)))
        return d, h, w

    def slice_spacing_mm(self, plane: Plane) -> tuple[float, float, float]:
        """Return the distance between slices, rows and columns of a plane."""
        d, h, w = (self.spacing_mm[axis] for axis in _axes(_turn(self.affine, plane)))
        return d, h, w


def to_slices(
    values: Shaped[np.ndarray, "*c x y z"], grid: Grid, plane: Plane
) -> Shaped[np.ndarray, "*c d h w"]:
    """Return a file's values as slices of a plane; a view. Oblique axes count as the nearest."""
    return _apply(values, _turn(grid.affine, plane))


def from_slices(
    values: Shaped[np.ndarray, "*c d h w"], grid: Grid, plane: Plane
) -> Shaped[np.ndarray, "*c x y z"]:
    """Put slices of a plane back to the axes of the file; the inverse of `to_slices`; a view."""
    ornt = _orientations()
    back = ornt.ornt_transform(ornt.axcodes2ornt(PLANES[plane]), ornt.io_orientation(grid.affine))
    return _apply(values, back)


def turn_axes(
    values: Shaped[np.ndarray, "*c x y z"], grid: Grid, like: Grid
) -> tuple[Shaped[np.ndarray, "*c u v w"], Grid]:
    """Return a volume with its axes in the order and the directions of another's; a view."""
    ornt = _orientations()
    turn = ornt.io_orientation(np.linalg.inv(like.affine) @ grid.affine)
    if np.isnan(turn).any():
        return values, grid
    turned = _apply(values, turn)
    x, y, z = turned.shape[-3:]
    affine = grid.affine @ ornt.inv_ornt_aff(turn, grid.shape)
    return turned, Grid((x, y, z), affine, grid.remarks, grid.over_time)


def same_place(left: Grid, right: Grid) -> bool:
    """Return whether two files' voxels lie in one place, to a hundredth of a voxel."""
    return left.shape == right.shape and voxels_apart(left, right) <= MOST_APART


def voxels_apart(left: Grid, right: Grid) -> float:
    """Return how far apart the corners of two grids of one shape lie, in the smaller voxel side."""
    corners = np.array(np.meshgrid(*[(0, side) for side in left.shape], [1])).reshape(4, -1)
    apart = np.abs((left.affine - right.affine)[:3] @ corners).max()
    return float(apart / min(*left.spacing_mm, *right.spacing_mm))


def _turn(affine: Float[np.ndarray, "4 4"], plane: Plane) -> Num[np.ndarray, "3 2"]:
    """Return where each of the file's axes goes, and in which direction, in nibabel's form."""
    ornt = _orientations()
    return ornt.ornt_transform(ornt.io_orientation(affine), ornt.axcodes2ornt(PLANES[plane]))


def _axes(turn: Num[np.ndarray, "3 2"]) -> list[int]:
    """Return the file's axis that becomes d, h and w."""
    return np.argsort(turn[:, 0]).tolist()


def _apply(values: np.ndarray, turn: Num[np.ndarray, "3 2"]) -> np.ndarray:
    # nibabel turns the first axes: channels go behind them and come back
    lead = values.ndim - 3
    moved = np.moveaxis(values, range(lead), range(3, values.ndim))
    turned = _orientations().apply_orientation(moved, turn)
    return np.moveaxis(turned, range(3, values.ndim), range(lead))


def _orientations() -> ModuleType:
    """Import nibabel's orientations: not before a volume comes, as they bring all of nibabel."""
    import nibabel.orientations

    return nibabel.orientations
