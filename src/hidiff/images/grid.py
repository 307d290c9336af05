"""Where a volume's voxels lie in the patient, and how it is cut into slices and put back."""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Grid:
    """A volume's voxels as its file has them: (x, y, z), nibabel's order."""

    shape: tuple[int, int, int]
    affine: Float[np.ndarray, "4 4"]
    """voxel -> mm in the patient, x to the right, y to the front, z up (RAS+)"""

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Of the file's axes x, y, z."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    def slice_shape(self, plane: Plane) -> tuple[int, int, int]:
        """Slices, rows and columns of a plane."""
        d, h, w = (self.shape[axis] for axis in _axes(_turn(self.affine, plane)))
        return d, h, w

    def slice_spacing_mm(self, plane: Plane) -> tuple[float, float, float]:
        """Between slices, rows and columns of a plane."""
        d, h, w = (self.spacing_mm[axis] for axis in _axes(_turn(self.affine, plane)))
        return d, h, w


def to_slices(
    values: Shaped[np.ndarray, "*c x y z"], grid: Grid, plane: Plane
) -> Shaped[np.ndarray, "*c d h w"]:
    """A file's values as slices of a plane; a view. Oblique volumes go by their nearest axes."""
    return _apply(values, _turn(grid.affine, plane))


def from_slices(
    values: Shaped[np.ndarray, "*c d h w"], grid: Grid, plane: Plane
) -> Shaped[np.ndarray, "*c x y z"]:
    """The inverse of `to_slices`; a view."""
    ornt = _orientations()
    back = ornt.ornt_transform(ornt.axcodes2ornt(PLANES[plane]), ornt.io_orientation(grid.affine))
    return _apply(values, back)


def same_place(left: Grid, right: Grid) -> bool:
    """Whether two files' voxels lie in one place, to a hundredth of a voxel."""
    if left.shape != right.shape:
        return False
    corners = np.array(np.meshgrid(*[(0, side) for side in left.shape], [1])).reshape(4, -1)
    apart = np.abs((left.affine - right.affine)[:3] @ corners).max()
    return bool(apart <= 0.01 * min(left.spacing_mm))


def _turn(affine: Float[np.ndarray, "4 4"], plane: Plane) -> Num[np.ndarray, "3 2"]:
    """Where each of the file's axes goes, and whether it is turned round, as nibabel writes it."""
    ornt = _orientations()
    return ornt.ornt_transform(ornt.io_orientation(affine), ornt.axcodes2ornt(PLANES[plane]))


def _axes(turn: Num[np.ndarray, "3 2"]) -> list[int]:
    """The file's axis that becomes d, h and w."""
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
