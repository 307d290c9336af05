"""An image as its files hold it, and what a file format must be able to do."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Num

from hidiff.images.files import DataError, ImageFiles
from hidiff.images.geometry import Geometry, PictureGeometry
from hidiff.images.grid import Grid, Plane
from hidiff.images.voxels import Holds


@dataclass(frozen=True)
class Image:
    """Raw values, slices first, and where they lie. A picture is a volume of one slice."""

    values: Num[np.ndarray, "c d h w"]
    geometry: Geometry
    path: ImageFiles | None = None
    """the file, or a file for each channel; None for an image that is in memory alone"""
    stored: np.dtype | None = None
    """type of number in the file or array; None where the scale of the values is certain"""

    @property
    def grid(self) -> Grid | None:
        """The grid of the voxels in the patient; None for a picture."""
        return self.geometry.grid

    def slice(self, number: int) -> Num[np.ndarray, "c h w"]:
        """Return the values of one slice."""
        return self.values[:, number]


class Format(ABC):
    """One kind of file: how it is read, and what the masks of its images are written as."""

    plural: str
    """the word for images of this kind in messages"""
    numbers_channels: bool = False
    """True if CASE_0000, CASE_0001, ... are the channels of one image, as nnU-Net names them"""
    geometry_type: type[Geometry]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the formats that its masks can be written in, the usual one first."""
        return self.geometry_type.outputs

    @abstractmethod
    def read(self, path: Path, holds: Holds, plane: Plane) -> Image:
        """Read one file, with the channels and the type of number that it has."""

    @abstractmethod
    def join(self, parts: Sequence[Image], channels: int | None) -> Image:
        """Make one image of its files; raise DataError unless it has that many channels."""

    @abstractmethod
    def partner(self, path: Path) -> "Format":
        """Return the format of a file that belongs to an image of this format, such as a mask."""

    @abstractmethod
    def read_geometry(self, path: Path, plane: Plane) -> Geometry:
        """Read how the slices lie, without the values where the file allows it."""

    @abstractmethod
    def count_slices(self, path: Path, plane: Plane) -> int:
        """Count the slices, without the values."""

    @abstractmethod
    def count_values(self, path: Path) -> int:
        """Count the pixels or voxels of one channel, from the head of the file alone."""

    @abstractmethod
    def read_mask(
        self, path: Path, geometry: Geometry, image: ImageFiles
    ) -> Num[np.ndarray, "d h w"]:
        """Read a mask of an image of this format; raise DataError where the two do not fit."""

    @abstractmethod
    def read_maps(
        self, path: Path, geometry: Geometry, image: ImageFiles
    ) -> Num[np.ndarray, "*native"]:
        """Read probability maps of an image of this format, in the form of its file."""

    @abstractmethod
    def stem(self, path: Path) -> str:
        """Return a file's name without its ending: patient1 of patient1.nii.gz."""


def picture_of(planes: Num[np.ndarray, "c h w"], path: ImageFiles | None = None) -> Image:
    """Return the planes of a picture as an image of one slice."""
    height, width = planes.shape[1:]
    return Image(planes[:, None], PictureGeometry((height, width)), path)


def as_floats(image: Image) -> Image:
    """Return the image with values in float32, in memory order."""
    values: Float[np.ndarray, "c d h w"] = np.ascontiguousarray(image.values, dtype=np.float32)
    return replace(image, values=values)


def check_size(
    path: Path | str, size: tuple[int, ...], geometry: Geometry, image: ImageFiles
) -> None:
    """Raise DataError for a file of another size (rows, columns) than its image."""
    wanted = geometry.size
    if tuple(size) != wanted:
        first = image[0] if isinstance(image, tuple) else image
        raise DataError(
            f"{path} is {size[0]}x{size[1]} (rows x columns), but its image {first} is "
            f"{wanted[0]}x{wanted[1]}. Check that they belong together, and resize one."
        )
