"""The pixels of a resized image that a mark touches.

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
    ends = tuple(zip(start, end, strict=True))
    rows, columns = (
        _Axis.near(*ends[axis], radius, size[axis], image_size[axis]) for axis in range(2)
    )
    mask = _distance(start, end, rows, columns) < radius
    mask |= _crossed(start, end, rows, columns)
    for row, column in (start, end):
        mask |= rows.holds(row)[:, None] & columns.holds(column)
    return Footprint(rows.part, columns.part, mask)


def mask_footprint(mask: Bool[np.ndarray, "h w"], size: Size) -> Footprint:
    """Return the pixels of the resized image that overlap any pixel of the mask."""
    spans = []
    for axis in range(2):
        painted = np.flatnonzero(mask.any(axis=1 - axis))
        # a stroke is small, so only the box that holds it is resized
        first, last = (painted[0], painted[-1] + 1) if len(painted) else (0, 0)
        spans.append(slice(int(first), int(last)))
    part = mask[spans[0], spans[1]]
    part, rows = _touched(part, 0, spans[0], size[0], mask.shape[0])
    part, columns = _touched(part, 1, spans[1], size[1], mask.shape[1])
    return Footprint(rows, columns, part)


def _touched(
    part: np.ndarray, axis: int, span: slice, length: int, image_length: int
) -> tuple[np.ndarray, slice]:
    """Resize one axis of a part of a mask, which is `span` of it; return its span there too.

    A pixel is set if any pixel that it overlaps is set.
    """
    if length == image_length:
        return part, span
    low, high = span.start * length // image_length, -(-span.stop * length // image_length)
    numbers = np.arange(low, high)
    sides = numbers * image_length // length, -(-(numbers + 1) * image_length // length)
    first, last = ((side - span.start).clip(0, span.stop - span.start) for side in sides)
    none = np.zeros([1 if other == axis else n for other, n in enumerate(part.shape)], np.int64)
    counts = np.concatenate([none, part.cumsum(axis=axis, dtype=np.int64)], axis=axis)
    return counts.take(last, axis=axis) > counts.take(first, axis=axis), slice(low, high)


@dataclass(frozen=True)
class _Axis:
    """A stretch of pixels of the resized image, and their edges in the image as given."""

    part: slice
    low: Float[np.ndarray, "n"]
    high: Float[np.ndarray, "n"]

    @staticmethod
    def near(start: Number, end: Number, radius: Number, length: int, image_length: int) -> "_Axis":
        """Return the pixels within the radius of the ends, and one more on each side."""
        scale = length / image_length
        first = int(np.floor((min(start, end) - radius + 0.5) * scale)) - 1
        last = int(np.ceil((max(start, end) + radius + 0.5) * scale)) + 1
        part = slice(max(first, 0), min(last, length))
        # multiplied first, so that edges that are whole numbers are exact
        edges = np.arange(part.start, part.stop + 1) * image_length / length - 0.5
        return _Axis(part, edges[:-1], edges[1:])

    def holds(self, value: Number) -> np.ndarray:
        """Return which pixel holds the coordinate; an edge belongs to the pixel after it."""
        return (self.low <= value) & (value < self.high)

    def gap(self, value: Number) -> np.ndarray:
        """Return how far each pixel lies from the coordinate; 0 inside."""
        return np.maximum(np.maximum(self.low - value, value - self.high), 0)

    def shares(self, start: Number, end: Number) -> tuple[np.ndarray, np.ndarray]:
        """Return where the segment enters and leaves each pixel: 0 at its start, 1 at its end."""
        step = end - start
        if step == 0:
            return np.zeros(len(self.low)), np.where(self.holds(start), 1.0, -1.0)
        edges = (self.low - start) / step, (self.high - start) / step
        return np.minimum(*edges).clip(min=0), np.maximum(*edges).clip(max=1)


def _distance(start: Point, end: Point, rows: _Axis, columns: _Axis) -> Float[np.ndarray, "r c"]:
    """Return the distance between each pixel and a segment that does not cross it.

    The nearest point is then an end of the segment or a corner of the pixel.
    """
    ends = [np.hypot(rows.gap(row)[:, None], columns.gap(column)) for row, column in (start, end)]
    nearest = np.minimum(*ends)
    down, right = end[0] - start[0], end[1] - start[1]
    length = down * down + right * right
    if length > 0:
        for edge_rows in (rows.low[:, None] - start[0], rows.high[:, None] - start[0]):
            for edge_columns in (columns.low - start[1], columns.high - start[1]):
                share = ((edge_rows * down + edge_columns * right) / length).clip(0, 1)
                distance = np.hypot(edge_rows - share * down, edge_columns - share * right)
                np.minimum(nearest, distance, out=nearest)
    return nearest


def _crossed(start: Point, end: Point, rows: _Axis, columns: _Axis) -> Bool[np.ndarray, "r c"]:
    """Return which pixels the segment runs through; a corner or an edge alone is not enough."""
    (first_row, last_row), (first_column, last_column) = (
        axis.shares(start[number], end[number]) for number, axis in enumerate((rows, columns))
    )
    enter = np.maximum(first_row[:, None], first_column)
    return enter < np.minimum(last_row[:, None], last_column)
