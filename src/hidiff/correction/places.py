"""From what a person gives, points and masks in the form of the image, to marks in slices."""

from typing import Any

import numpy as np
from jaxtyping import Bool

from hidiff.correction.record import Placed
from hidiff.images import Geometry
from hidiff.marks import Area, Click, Mark, Stroke


def place_click(
    point: Any, plane: int | None, add: bool, radius: float | int, geometry: Geometry
) -> Placed:
    """Return a click at (row, column), of a volume at (slice, row, column).

    Raises ValueError for a point outside of the image.
    """
    number, place = _split(point, geometry)
    mark = Click(plane=plane, add=add, point=place, radius=radius)
    return _check(Placed(number, mark), geometry)


def place_stroke(
    points: Any, plane: int | None, add: bool, radius: float | int, exact: bool, geometry: Geometry
) -> Placed:
    """Return a line through points, which lie in one slice. Raises ValueError as `place_click`."""
    split = [_split(point, geometry) for point in points]
    if not split:
        raise ValueError("a stroke has no points, but needs one at least")
    numbers = sorted({number for number, _ in split})
    if len(numbers) > 1:
        raise ValueError(
            f"a stroke's points lie in {len(numbers)} slices, from {numbers[0]} to {numbers[-1]}, "
            "but one is wanted. Draw a stroke in each, or give a mask of the whole volume."
        )
    line = tuple(place for _, place in split)
    mark = Stroke(plane=plane, add=add, exact=exact, points=line, radius=radius)
    return _check(Placed(numbers[0], mark), geometry)


def place_mask(
    mask: Any, plane: int | None, add: bool, exact: bool, geometry: Geometry, slice: int | None
) -> tuple[Placed, ...]:
    """Return painted pixels, slice by slice."""
    return tuple(
        Placed(number, Area(plane=plane, add=add, exact=exact, mask=area))
        for number, area in split_mask(mask, geometry, slice).items()
    )


def split_mask(
    mask: Any, geometry: Geometry, slice: int | None = None
) -> dict[int, Bool[np.ndarray, "h w"]]:
    """Return the slices of a mask that hold any pixel.

    The mask has the form of the image's file; with `slice` it is (rows, columns) of that slice.
    Raises ValueError for a mask of another size, of NaN, or without any pixel.
    """
    values = _to_array(mask)
    if slice is not None:
        check_slice(slice, geometry)
        _check_shape(values, geometry.size)
        slices = {slice: values != 0}
    else:
        _check_shape(values, geometry.native_shape)
        cut = geometry.from_native(values != 0)
        slices = {number: cut[number].copy() for number in range(len(cut)) if cut[number].any()}
    if not any(area.any() for area in slices.values()):
        raise ValueError("the mask marks no pixel. Give one that is true somewhere.")
    return slices


def is_mask(values: Any, geometry: Geometry, slice: int | None) -> bool:
    """Return whether a stroke's first argument is a mask, and not points."""
    shape = getattr(values, "shape", None)
    if shape is None:
        return False
    kind = np.asarray(values).dtype.kind
    size = geometry.size if slice is not None else geometry.native_shape
    return kind == "b" or tuple(shape) == tuple(size)


def check_slice(number: int, geometry: Geometry) -> int:
    """Return the number of a slice. Raises ValueError for one that the image does not have."""
    if number != int(number) or not 0 <= number < geometry.shape[0]:
        raise ValueError(
            f"slice {number:g} is asked for, but the image has slices 0 to {geometry.shape[0] - 1}."
        )
    return int(number)


def _split(point: Any, geometry: Geometry) -> tuple[int, tuple[float, float]]:
    """Return the slice of a point, and its row and column."""
    values = tuple(float(value) for value in np.asarray(point, dtype=np.float64).reshape(-1))
    depth = geometry.shape[0]
    is_flat = len(geometry.native_shape) == 2
    wanted = "(row, column)" if is_flat else "(slice, row, column)"
    if len(values) != (2 if is_flat else 3):
        raise ValueError(f"a point is {values}, but {wanted} is wanted.")
    if not np.isfinite(values).all():
        raise ValueError(f"a point is {values}, but {wanted} in finite numbers is wanted.")
    number, row, column = (0.0, *values) if is_flat else values
    if number != int(number) or not 0 <= number < depth:
        raise ValueError(
            f"a point lies in slice {number:g}, but the image has slices 0 to {depth - 1}."
        )
    return int(number), (row, column)


def _check(placed: Placed, geometry: Geometry) -> Placed:
    """Return the mark. Raises ValueError for one that does not lie in the image."""
    _footprint(placed.mark, geometry)
    return placed


def _footprint(mark: Mark, geometry: Geometry) -> None:
    mark.footprint(geometry.size, geometry.size)


def _to_array(mask: Any) -> np.ndarray:
    if hasattr(mask, "detach"):  # a tensor of torch
        mask = mask.detach().cpu()
    values = np.asarray(mask)
    if values.dtype.kind not in "buif":
        raise ValueError(
            f"the mask is {values.dtype}, but an array of true and false, or of 0 and other "
            "numbers, is wanted."
        )
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise ValueError("the mask holds NaN. Give 0 where nothing is marked.")
    return values


def _check_shape(values: np.ndarray, shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        came, wanted = ("x".join(map(str, each)) for each in (values.shape, shape))
        raise ValueError(f"the mask is {came}, but the image is {wanted}. Paint it on the image.")
