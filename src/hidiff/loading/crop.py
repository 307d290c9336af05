"""A crop around a place in a slice, with pixels of a given size, and the way back to the slice."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Num, Shaped
from torch import Tensor
from torch.nn.functional import grid_sample

from hidiff.images import Geometry, Intensity

At = tuple[float | int, float | int, int]
"""row, column and slice of a volume, counted from 0"""


@dataclass(frozen=True)
class Crop:
    """A box of one slice, with a place of the slice in its middle."""

    number: int
    """the slice"""
    middle: tuple[float, float]
    """row and column of the slice that lie in the middle of the crop"""
    step: tuple[float, float]
    """pixels of the slice to one pixel of the crop, along rows and along columns"""
    size: tuple[int, int]
    """rows and columns of the crop"""
    image_size: tuple[int, int]
    """rows and columns of the slice"""

    def cut(self, values: Num[Tensor, "*lead h w"]) -> Num[Tensor, "*lead H W"]:
        """Interpolate planes of the slice at the crop's pixels; past the rim it is repeated."""
        return _sample(values.float(), *self._places(), "bilinear")

    def cut_nearest(self, values: Shaped[Tensor, "*lead h w"]) -> Shaped[Tensor, "*lead H W"]:
        """Take, for each pixel of the crop, the value of the nearest one of the slice."""
        return _sample(values.float(), *self._places(), "nearest").to(values.dtype)

    def paste(self, maps: Num[Tensor, "*lead H W"]) -> Num[Tensor, "*lead h w"]:
        """Interpolate maps of the crop at the slice's pixels; 0 outside the crop."""
        return _sample(maps.float(), *self._places_back(), "bilinear") * self.inside

    def paste_nearest(self, maps: Shaped[Tensor, "*lead H W"]) -> Shaped[Tensor, "*lead h w"]:
        """Take, for each pixel of the slice, the value of the crop's nearest; 0 outside."""
        pasted = _sample(maps.float(), *self._places_back(), "nearest") * self.inside
        return pasted.to(maps.dtype)

    @property
    def inside(self) -> Bool[Tensor, "h w"]:
        """The pixels of the slice whose middle lies in the crop."""
        rows, columns = (
            (places >= -0.5) & (places <= side - 0.5)
            for places, side in zip(self._places_back(), self.size, strict=True)
        )
        return rows[:, None] & columns[None]

    def _places(self) -> tuple[Tensor, Tensor]:
        """Return the row and the column of the slice at each row and column of the crop."""
        rows, columns = (
            middle + (torch.arange(side, dtype=torch.float64) - (side - 1) / 2) * step
            for middle, side, step in zip(self.middle, self.size, self.step, strict=True)
        )
        return rows, columns

    def _places_back(self) -> tuple[Tensor, Tensor]:
        """Return the row and the column of the crop at each row and column of the slice."""
        rows, columns = (
            (torch.arange(whole, dtype=torch.float64) - middle) / step + (side - 1) / 2
            for middle, side, step, whole in zip(
                self.middle, self.size, self.step, self.image_size, strict=True
            )
        )
        return rows, columns


def place_crop(at: At, geometry: Geometry, size: tuple[int, int], crop_mm: float) -> Crop:
    """Return the crop of `size` pixels of `crop_mm` around a place of a volume.

    Raises ValueError for a place outside, and for a picture, whose pixels have no size in mm.
    """
    spacing = geometry.spacing_mm
    if spacing is None:
        raise ValueError(
            "at is for volumes, whose voxels have a size in mm. A picture is the crop itself: "
            "leave at out."
        )
    row, column, number = (float(each) for each in at)
    depth, height, width = geometry.shape
    inside = 0 <= row <= height - 1 and 0 <= column <= width - 1 and 0 <= number < depth
    if not inside or number != int(number):  # also a NaN is not inside
        raise ValueError(
            f"at is row {row:g}, column {column:g}, slice {number:g}, but the volume has rows 0 to "
            f"{height - 1}, columns 0 to {width - 1} and slices 0 to {depth - 1}."
        )
    step = (crop_mm / spacing[1], crop_mm / spacing[2])
    return Crop(int(number), (row, column), step, size, (height, width))


def stretch(
    values: Num[np.ndarray, "c *space"], intensity: Intensity
) -> Num[np.ndarray, "c *space"]:
    """Return the values of a crop stretched to 0..full_scale, where the model takes such values.

    A crop of one value becomes 0. With another intensity than `unit` the values stay as they are.
    """
    if intensity.kind != "unit":
        return values
    low, high, white = float(values.min()), float(values.max()), intensity.full_scale
    stretched = (values - low) * (white / max(high - low, 1e-6))
    return stretched.astype(np.float32).clip(0, white)


def _sample(
    values: Num[Tensor, "*lead h w"], rows: Tensor, columns: Tensor, mode: str
) -> Num[Tensor, "*lead H W"]:
    """Sample planes at rows and columns; places past the rim take the rim's value."""
    planes = values.reshape(1, -1, *values.shape[-2:])
    along = [
        2 * places / max(side - 1, 1) - 1
        for places, side in zip((columns, rows), (planes.shape[3], planes.shape[2]), strict=True)
    ]
    x, y = torch.meshgrid(along[0], along[1], indexing="xy")
    grid = torch.stack([x, y], dim=-1)[None].to(planes.dtype)
    sampled = grid_sample(planes, grid, mode=mode, padding_mode="border", align_corners=True)
    return sampled.reshape(*values.shape[:-2], len(rows), len(columns))
