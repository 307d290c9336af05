"""A person's marks in an image: clicks, strokes and painted areas."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool

from hidiff.marks.footprint import (
    Footprint,
    Number,
    Point,
    Size,
    disk_footprint,
    line_footprint,
    mask_footprint,
)


@dataclass(frozen=True, kw_only=True)
class Mark(ABC):
    """A place in an image, and what a person says of it."""

    plane: int | None
    """the mask plane it speaks of; None: the background, none of the classes"""
    add: bool = True
    """True: the place belongs to this class; False: it does not"""
    exact: bool = True
    """True: certain, to be obeyed; False: a rough mark, a hint alone"""

    def __post_init__(self) -> None:
        if self.plane is not None and self.plane < 0:
            raise ValueError(f"a mark speaks of plane {self.plane}, but planes count from 0")

    @abstractmethod
    def footprint(self, size: Size, image_size: Size) -> Footprint:
        """Return the pixels it touches of the image resized from `image_size` to `size`.

        Raises ValueError for a mark outside the image.
        """


@dataclass(frozen=True, kw_only=True)
class Click(Mark):
    """A disk around a point."""

    point: Point
    radius: Number = 4.0
    """in pixels of the image as given; at 0 the pixel under the point alone"""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_radius(self.radius)

    def footprint(self, size: Size, image_size: Size) -> Footprint:
        _check_inside([self.point], image_size)
        return disk_footprint(self.point, self.radius, size, image_size)


@dataclass(frozen=True, kw_only=True)
class Stroke(Mark):
    """A line through points, with round ends and corners."""

    points: tuple[Point, ...]
    radius: Number = 4.0
    """half the width, in pixels of the image as given"""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_radius(self.radius)
        if not self.points:
            raise ValueError("a stroke has no points, but needs one at least")

    def footprint(self, size: Size, image_size: Size) -> Footprint:
        _check_inside(self.points, image_size)
        prints = [
            line_footprint(start, end, self.radius, size, image_size)
            for start, end in pairwise(self.points if len(self.points) > 1 else self.points * 2)
        ]
        return Footprint.union(prints)


@dataclass(frozen=True, kw_only=True, eq=False)
class Area(Mark):
    """Painted pixels, of the image as given."""

    mask: Bool[np.ndarray, "h w"]

    def footprint(self, size: Size, image_size: Size) -> Footprint:
        if self.mask.shape != image_size:
            raise ValueError(
                f"a painted mark is {self.mask.shape[0]}x{self.mask.shape[1]}, but its image is "
                f"{image_size[0]}x{image_size[1]}. Paint it on the image as given."
            )
        return mask_footprint(self.mask, size)


def _check_radius(radius: Number) -> None:
    if not 0 <= radius < float("inf"):  # NaN neither
        raise ValueError(f"a mark's radius is {radius:g}, but must be 0 or more, in pixels")


def _check_inside(points: Sequence[Point], image_size: Size) -> None:
    height, width = image_size
    for row, column in points:
        # a pixel reaches half a pixel beyond its centre
        if not (-0.5 <= row < height - 0.5 and -0.5 <= column < width - 0.5):
            raise ValueError(
                f"a mark's point is row {row:g}, column {column:g}, outside of the image, which is "
                f"{height}x{width}. Points are (row, column) in pixels of the image as given."
            )
