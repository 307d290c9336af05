"""Small volumes of any shape and orientation, and a model that says what it sees."""

from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import torch
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hidiff.images import (
    Grid,
    Intensity,
    VolumeGeometry,
    find_format,
    read_geometry,
    read_image,
    read_mask,
)
from hidiff.labels import Labels
from hidiff.loading import Slicing
from hidiff.prediction import PredictionSettings, Predictor, SliceMaps

LABELS = {
    "one_class": Labels(kind="one_class", classes={"lesion": (1,)}),
    "exclusive": Labels(kind="exclusive", classes={"rv": (1,), "myo": (2,), "lv": (4,)}),
    "regions": Labels(kind="regions", classes={"wt": (1, 2, 4), "tc": (1, 4), "et": (4,)}),
}
VALUES = {"one_class": (0, 1), "exclusive": (0, 1, 2, 4), "regions": (0, 1, 2, 4)}


@st.composite
def grids(draw: st.DrawFn, oblique: bool = True) -> Grid:
    """Sides of 1 to 5, axes in any order and direction, turned by less than 20 degrees."""
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    order = draw(st.sampled_from(list(permutations(range(3)))))
    signs = draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    # quarters: their float32, which NIfTI keeps, is exact
    spacing = draw(st.tuples(*[st.integers(1, 20).map(lambda n: n / 4)] * 3))
    angles = draw(st.tuples(*[st.integers(-11, 11)] * 3)) if oblique else (0, 0, 0)
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, order] * signs * spacing
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ affine[:3, :3]
    affine[:3, 3] = draw(st.tuples(*[st.integers(-400, 400).map(lambda n: n / 4)] * 3))
    return Grid(shape, affine)


def make_grid(*shape: int) -> Grid:
    """Return a grid as that of most CT files in nibabel: x to the left, y to the front, z up."""
    return Grid(shape, np.diag([-2.0, 2.0, 3.0, 1.0]))


def make_mask(grid: Grid, kind: str = "exclusive", seed: int = 0) -> np.ndarray:
    """A value of the kind's classes in every voxel, the largest among them."""
    mask = np.random.default_rng(seed).choice(VALUES[kind], grid.shape).astype(np.uint8)
    mask.flat[-1] = max(VALUES[kind])
    return mask


def write_nifti(path: Path, values: np.ndarray, grid: Grid) -> Path:
    nib.save(nib.Nifti1Image(values, grid.affine), path)
    return path


class Voxels(NamedTuple):
    """A volume with the axes of its file."""

    values: np.ndarray
    grid: Grid


def read_volume(file, channels: int | None) -> Voxels:
    """Read a volume, and turn its values back to the axes of its file."""
    image = read_image(file, channels)
    assert image.grid is not None
    return Voxels(image.geometry.native(image.values), image.grid)


def read_volume_mask(file, grid: Grid, image) -> np.ndarray:
    """Read a mask of a volume that lies on a grid, with the axes of its file."""
    geometry = VolumeGeometry(grid)
    return geometry.native(read_mask(file, geometry, image))


def read_grid(file) -> Grid:
    """Read where a volume's voxels lie, from the head of its file."""
    grid = read_geometry(file).grid
    assert grid is not None
    return grid


def is_volume(file) -> bool:
    """Return True if the table of formats takes a file for a volume."""
    format = find_format(file)
    return format is not None and format.geometry_type is VolumeGeometry


class Echo(Predictor):
    """Answers with the image itself: its raw values are those of a mask."""

    def __init__(self, kind: str = "exclusive", slicing: Slicing | None = None) -> None:
        self.labels = LABELS[kind]
        self.channels = 1
        self.intensity = Intensity(kind="window", window=(0, 8))
        self.slicing = slicing or Slicing()
        self.size = None
        self.window = (64, 64)
        self.priors = None
        self.settings = PredictionSettings(windows=2)
        self.refines = True

    def predict_slices(self, images, names, settings, *, size, refine, trace=False, keep=None):
        middle = images.shape[1] // 2
        raw = np.rint((images[:, middle].numpy() + 1) * 4).astype(np.uint8)
        return [self._echo(slice) for slice in raw]

    def _echo(self, raw: np.ndarray) -> SliceMaps:
        probability = self.labels.encode(raw)
        return self._finish(
            {"mean": torch.from_numpy(probability), "prior": torch.from_numpy(probability)},
            self.settings,
        )
