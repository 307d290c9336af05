"""Volumes over time (cine MRI, dynamic series): every frame's slices, one frame after another."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from hidiff.images.files import DataError, ImageFiles, first_file
from hidiff.images.geometry import Geometry, VolumeGeometry


@dataclass(frozen=True)
class FilmGeometry(VolumeGeometry):
    """The slices of all frames of a 4-D file. Maps have the file's axes: (x, y, z, time)."""

    num_frames: int = 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices of all frames, rows and columns."""
        d, h, w = super().shape
        return self.num_frames * d, h, w

    @property
    def frame_depth(self) -> int:
        """Number of slices of one frame."""
        return super().shape[0]

    @property
    def native_shape(self) -> tuple[int, ...]:
        """Voxels along the axes of the file, and the frames."""
        return (*self.grid.shape, self.num_frames)

    def slice_title(self, name: str, number: int) -> str:
        """Return the name of the file with the numbers of frame and slice, counted from 1."""
        frame, number = divmod(number, self.frame_depth)
        return (
            f"{name}, frame {frame + 1} of {self.num_frames}, slice {number + 1} of "
            f"{self.frame_depth}"
        )

    def native(self, values: Shaped[np.ndarray, "*k d h w"]) -> Shaped[np.ndarray, "*k x y z t"]:
        """Turn slices back to the axes of the file, time last."""
        lead, (h, w) = values.shape[:-3], values.shape[-2:]
        frames = values.reshape(*lead, self.num_frames, self.frame_depth, h, w)
        return np.moveaxis(super().native(frames), -4, -1)

    def from_native(
        self, values: Shaped[np.ndarray, "*k x y z t"]
    ) -> Shaped[np.ndarray, "*k d h w"]:
        """Turn voxels of the file so that the slices of the first frame come first."""
        frames = super().from_native(np.moveaxis(values, -1, -4))
        return frames.reshape(*frames.shape[:-4], -1, *frames.shape[-2:])


def check_no_film(geometry: Geometry, image: ImageFiles) -> None:
    """Raise DataError for an image that is a film: masks and priors have no frames."""
    if isinstance(geometry, FilmGeometry):
        raise DataError(
            f"{first_file(image)} is a film of {geometry.num_frames} frames: each is predicted "
            "by itself, but masks and priors are read for volumes alone. Write its frames as "
            "volumes."
        )
