"""Pictures, and arrays of two axes or with channels before them, as images of one slice."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Num

from hidiff.images.files import DataError, ImageFiles, first_file
from hidiff.images.geometry import Geometry, PictureGeometry
from hidiff.images.grid import Plane
from hidiff.images.image import Format, Image, as_floats, check_size, picture_of
from hidiff.images.mask_values import picture_traits, whole_numbers
from hidiff.images.picture_masks import read_picture_mask
from hidiff.images.pictures import (
    ARRAYS,
    check_finite,
    match_channels,
    read_array,
    read_planes,
    read_size,
)
from hidiff.images.voxels import Holds


class PictureFormat(Format):
    """Files that Pillow or numpy read. Grey and colour are converted into each other."""

    plural = "pictures"
    geometry_type = PictureGeometry

    def read(self, path: Path, holds: Holds, plane: Plane) -> Image:
        """Read a picture with its own channels and type of number."""
        return picture_of(read_planes(path), path)

    def join(self, parts: Sequence[Image], channels: int | None) -> Image:
        """Convert one file to the channels asked for, or take one channel of each of several."""
        first = parts[0]
        path = first_file(first.path or "the picture")
        if len(parts) == 1:
            image = first if channels is None else as_floats(first)
            check_finite(path, image.values)
            if channels is None:
                return image
            return picture_of(match_channels(path, image.slice(0), channels), path)
        if channels not in (None, len(parts)):
            raise DataError(
                f"{path} and the {len(parts) - 1} beside it make {len(parts)} channels, "
                f"but {channels} are wanted. Give a file for every channel."
            )
        planes = []
        for part in parts:
            file = first_file(part.path or "a channel")
            came, wanted = part.geometry.size, first.geometry.size
            if came != wanted:
                raise DataError(
                    f"{file} is {came[0]}x{came[1]}, but {path}, another channel of the same "
                    f"image, is {wanted[0]}x{wanted[1]}. Resize one."
                )
            plane = as_floats(part).slice(0)
            check_finite(file, plane)
            planes.append(match_channels(file, plane, 1))
        files = tuple(first_file(part.path or "a channel") for part in parts)
        return picture_of(np.concatenate(planes), files)

    def partner(self, path: Path) -> Format:
        """Return this format: what belongs to a picture is a picture, or an array."""
        return self

    def read_geometry(self, path: Path, plane: Plane) -> Geometry:
        """Read rows and columns, the camera's orientation applied."""
        height, width = read_planes(path).shape[1:]
        return PictureGeometry((height, width))

    def count_slices(self, path: Path, plane: Plane) -> int:
        """Return 1, without opening the file."""
        return 1

    def count_values(self, path: Path) -> int:
        """Count the pixels, from the head of a picture."""
        height, width = read_size(path)
        return height * width

    def read_mask(
        self, path: Path, geometry: Geometry, image: ImageFiles
    ) -> Num[np.ndarray, "d h w"]:
        """Read a mask's values as they lie in the file; whole numbers are integers."""
        mask = whole_numbers(path, read_picture_mask(path))
        try:
            check_size(path, mask.shape, geometry, image)
        except DataError as error:
            if picture_traits(path).turned == picture_traits(first_file(image)).turned:
                raise
            raise DataError(
                f"{error} One of the two is turned by a camera's orientation (EXIF): draw the mask "
                "on the turned image."
            ) from None
        return mask[None]

    def read_maps(
        self, path: Path, geometry: Geometry, image: ImageFiles
    ) -> Num[np.ndarray, "*native"]:
        """Read planes of an array, or a picture of 8 or 16 bits as shares of its full scale."""
        if path.suffix.lower() in ARRAYS:
            return read_array(path)
        planes = read_planes(path)
        if planes.dtype.kind not in "ui":
            return planes
        return planes.astype(np.float32) / np.iinfo(planes.dtype).max

    def stem(self, path: Path) -> str:
        """Return the name without its last ending."""
        return path.stem


PICTURE = PictureFormat()
