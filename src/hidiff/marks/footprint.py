"""Which pixels of a resized image a mark touches.

Points and lengths are in pixels of the image as given; pixel i of it covers i - 0.5 to i + 0.5. A
pixel of the resized image is a rectangle there. It is touched if it lies nearer to the mark's
centre line than the radius, or if that line runs through it or ends in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

Number = int | float
Point = tuple[Number, Number]
"""(row, column) in pixels of the image as given; whole numbers are the centres of pixels"""
Size = tuple[int, int]
"""(height, width)"""


@dataclass(frozen=True)
class Footprint:
    """Touched pixels: a mask of a box of rows and columns; all others are untouched."""

    rows: slice
    columns: slice
    mask: Bool[np.ndarray, "rows columns"]

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns, as an index."""
        return self.rows, self.columns

    @staticmethod
    def union(prints: "Sequence[Footprint]") -> "Footprint":
        """Return the pixels that any of them touches, in the smallest box that holds them all."""
        rows = slice(min(p.rows.start for p in prints), max(p.rows.stop for p in prints))
        columns = slice(min(p.columns.start for p in prints), max(p.columns.stop for p in prints))
        mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), dtype=bool)
        for each in prints:
            mask[
                each.rows.start - rows.start : each.rows.stop - rows.start,
                each.columns.start - columns.start : each.columns.stop - columns.start,
            ] |= each.mask
        return Footprint(rows, columns, mask)


def disk_footprint(point: Point, radius: Number, size: Size, image_size: Size) -> Footprint:
    """Return the pixels that a disk touches."""
    return line_footprint(point, point, radius, size, image_size)


def line_footprint(
    start: Point,
    end: Point,
    radius: Number,
    size: Size,
    image_size: Size,
) -> Footprint:
    """Return the pixels that a straight line of half-width `radius` touches, with round ends.

    A line of radius 0 touches the pixels that it runs through.
    """
    ends = np.array([start, end], dtype=np.float64)
    axes = [_Axis.near(ends[:, axis], radius, size[axis], image_size[axis]) for axis in range(2)]
    rows, columns = axes
    low = np.stack(np.meshgrid(rows.low, columns.low, indexing="ij"), axis=-1)
    high = np.stack(np.meshgrid(rows.high, columns.high, indexing="ij"), axis=-1)
    mask = _distance(ends[0], ends[1], low, high) < radius
    mask |= _crossed(ends[0], ends[1], low, high)
    for row, column in ends:
        mask |= rows.holds(row)[:, None] & columns.holds(column)[None]
    return Footprint(rows.part, columns.part, mask)


def mask_footprint(mask: Bool[np.ndarray, "h w"], size: Size) -> Footprint:
    """Return the pixels of the resized image that overlap any pixel of the mask."""
    for axis in range(2):
        mask = _touched(mask, axis, size[axis])
    return Footprint(slice(0, size[0]), slice(0, size[1]), mask)


def _touched(mask: np.ndarray, axis: int, length: int) -> np.ndarray:
    """Resize one axis of a mask; a pixel is set if any pixel that it overlaps is set."""
    old, numbers = mask.shape[axis], np.arange(length)
    first, last = numbers * old // length, -(-(numbers + 1) * old // length)
    none = np.zeros_like(mask.take([0], axis=axis), dtype=np.int64)
    counts = np.concatenate([none, mask.cumsum(axis=axis, dtype=np.int64)], axis=axis)
    return counts.take(last, axis=axis) > counts.take(first, axis=axis)


@dataclass(frozen=True)
class _Axis:
    """A stretch of pixels of the resized image, and their edges in the image as given."""

    part: slice
    low: Float[np.ndarray, "n"]
    high: Float[np.ndarray, "n"]

    @staticmethod
    def near(ends: np.ndarray, radius: Number, length: int, image_length: int) -> "_Axis":
        """Return the pixels within the radius of the ends, and one more on each side."""
        scale = length / image_length
        first = int(np.floor((ends.min() - radius + 0.5) * scale)) - 1
        last = int(np.ceil((ends.max() + radius + 0.5) * scale)) + 1
        part = slice(max(first, 0), min(last, length))
        # multiplied first, so that edges that are whole numbers are exact
        edges = np.arange(part.start, part.stop + 1) * image_length / length - 0.5
        return _Axis(part, edges[:-1], edges[1:])

    def holds(self, value: float) -> np.ndarray:
        """Return which pixel holds the coordinate; an edge belongs to the pixel after it."""
        return (self.low <= value) & (value < self.high)


def _distance(
    start: np.ndarray, end: np.ndarray, low: np.ndarray, high: np.ndarray
) -> Float[np.ndarray, "r c"]:
    """Return how far each rectangle lies from the segment, if the two do not cross.

    The nearest points are then an end of the segment or a corner of the rectangle.
    """
    distances = [
        np.linalg.norm(np.maximum(low - point, 0) + np.maximum(point - high, 0), axis=-1)
        for point in (start, end)
    ]
    along = end - start
    length = along @ along
    if length > 0:
        for row in (low[..., 0], high[..., 0]):
            for column in (low[..., 1], high[..., 1]):
                corner = np.stack([row, column], axis=-1)
                share = ((corner - start) @ along / length).clip(0, 1)
                distances.append(np.linalg.norm(corner - start - share[..., None] * along, axis=-1))
    return np.min(distances, axis=0)


def _crossed(
    start: np.ndarray, end: np.ndarray, low: np.ndarray, high: np.ndarray
) -> Bool[np.ndarray, "r c"]:
    """Return through which rectangles the segment runs; a corner or an edge alone is not enough."""
    enter, leave = np.zeros(low.shape[:2]), np.ones(low.shape[:2])
    for axis in range(2):
        step = end[axis] - start[axis]
        if step == 0:
            inside = (low[..., axis] <= start[axis]) & (start[axis] < high[..., axis])
            leave = np.where(inside, leave, -1.0)
        else:
            shares = np.stack([low[..., axis] - start[axis], high[..., axis] - start[axis]]) / step
            enter = np.maximum(enter, shares.min(axis=0))
            leave = np.minimum(leave, shares.max(axis=0))
    return enter < leave
