"""The geometry of an image's slices, and everything that sets pictures and volumes apart."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Shaped

from hidiff.images.grid import Grid, Plane, from_slices, to_slices


class Geometry(ABC):
    """The number and size of an image's slices, and the way back to the form of its file.

    Every computation has slices first: (d, h, w), with d = 1 for a picture. What differs between a
    picture and a volume is written in the two classes below, and is asked of them alone.
    """

    noun: ClassVar[str]
    """the thing that one row of results stands for"""
    map_dtype: ClassVar[type[np.floating]]
    """type of the probabilities and uncertainties that a prediction keeps"""
    keeps_probability: ClassVar[bool]
    """True if a prediction keeps its probabilities by default"""
    outputs: ClassVar[tuple[str, ...]]
    """names of the formats that predictions of it can be written in, the usual one first"""
    grid: Grid | None
    """places of the voxels in the patient; None for a picture"""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns."""

    @property
    @abstractmethod
    def native_shape(self) -> tuple[int, ...]:
        """The shape of one map in the form of the file."""

    @property
    @abstractmethod
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Distance between slices, rows and columns; None where nobody knows it."""

    @staticmethod
    @abstractmethod
    def slice_key(name: str, number: int) -> str:
        """Return the name of one slice, on which random draws depend."""

    @abstractmethod
    def slice_title(self, name: str, number: int) -> str:
        """Return the name of one slice for people to read."""

    @abstractmethod
    def native(self, values: Shaped[np.ndarray, "*k d h w"]) -> Shaped[np.ndarray, "*native"]:
        """Put maps of all slices back into the form of the file; a view."""

    @abstractmethod
    def from_native(self, values: Shaped[np.ndarray, "*native"]) -> Shaped[np.ndarray, "*k d h w"]:
        """Cut maps in the form of the file into slices; the inverse of `native`."""

    @abstractmethod
    def spatial(self, values: Shaped[np.ndarray, "*k d h w"]) -> Shaped[np.ndarray, "*spatial"]:
        """Drop the axis of the slices where distances across slices have no meaning; a view."""

    @abstractmethod
    def from_spatial(
        self, values: Shaped[np.ndarray, "*spatial"]
    ) -> Shaped[np.ndarray, "*k d h w"]:
        """Put the axis of the slices back; the inverse of `spatial`."""

    @property
    def frame_depth(self) -> int:
        """Number of slices of one frame; of an image that is no film all slices."""
        return self.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of a slice."""
        return self.shape[1:]


@dataclass(frozen=True)
class PictureGeometry(Geometry):
    """The geometry of a picture: one slice, and pixels of unknown size."""

    rows_columns: tuple[int, int]

    noun = "image"
    map_dtype = np.float32
    keeps_probability = True
    outputs = ("png", "tiff", "npz")
    grid = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """One slice, its rows and columns."""
        return 1, *self.rows_columns

    @property
    def native_shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        return self.rows_columns

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """None: nobody knows the size of a picture's pixels."""
        return None

    @staticmethod
    def slice_key(name: str, number: int) -> str:
        """Return the name of the picture."""
        return name

    def slice_title(self, name: str, number: int) -> str:
        """Return the name of the picture."""
        return name

    def native(self, values: Shaped[np.ndarray, "*k d h w"]) -> Shaped[np.ndarray, "*k h w"]:
        """Drop the axis of the slices."""
        return values[..., 0, :, :]

    def from_native(self, values: Shaped[np.ndarray, "*k h w"]) -> Shaped[np.ndarray, "*k d h w"]:
        """Add the axis of the slices."""
        return values[..., None, :, :]

    def spatial(self, values: Shaped[np.ndarray, "*k d h w"]) -> Shaped[np.ndarray, "*k h w"]:
        """Drop the axis of the slices: a picture has no surface above or below."""
        return values[..., 0, :, :]

    def from_spatial(self, values: Shaped[np.ndarray, "*k h w"]) -> Shaped[np.ndarray, "*k d h w"]:
        """Add the axis of the slices."""
        return values[..., None, :, :]


@dataclass(frozen=True)
class VolumeGeometry(Geometry):
    """Slices of one plane through a grid of voxels."""

    grid: Grid  # pyright: ignore[reportIncompatibleVariableOverride] (narrower, and frozen)
    plane: Plane = "axial"

    noun = "volume"
    map_dtype = np.float16  # maps of a CT take gigabytes
    keeps_probability = False
    outputs = ("nifti", "npz")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns of the plane."""
        return self.grid.slice_shape(self.plane)

    @property
    def native_shape(self) -> tuple[int, ...]:
        """Voxels along the axes of the file."""
        return self.grid.shape

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Distance between slices, rows and columns."""
        return self.grid.slice_spacing_mm(self.plane)

    @staticmethod
    def slice_key(name: str, number: int) -> str:
        """Return the name of the volume with the number of the slice."""
        return f"{name}:{number}"

    def slice_title(self, name: str, number: int) -> str:
        """Return the name of the volume with the number of the slice, counted from 1."""
        return f"{name}, slice {number + 1} of {self.shape[0]}"

    def native(self, values: Shaped[np.ndarray, "*k d h w"]) -> Shaped[np.ndarray, "*k x y z"]:
        """Turn slices back to the axes and directions of the file."""
        return from_slices(values, self.grid, self.plane)

    def from_native(self, values: Shaped[np.ndarray, "*k x y z"]) -> Shaped[np.ndarray, "*k d h w"]:
        """Turn voxels of the file so that slices come first."""
        return to_slices(values, self.grid, self.plane)

    def spatial(self, values: Shaped[np.ndarray, "*k d h w"]) -> Shaped[np.ndarray, "*k d h w"]:
        """Return all three axes."""
        return values

    def from_spatial(
        self, values: Shaped[np.ndarray, "*k d h w"]
    ) -> Shaped[np.ndarray, "*k d h w"]:
        """Return all three axes."""
        return values
