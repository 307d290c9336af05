"""The connected errors of a mask, which a person would correct, and their deepest points."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Integer

from hidiff.marks.footprint import Point

EIGHT = np.ones((3, 3), dtype=bool)  # pixels that meet at a corner belong together: thin vessels


@dataclass(frozen=True, eq=False)
class Error:
    """A connected area where a mask is wrong in one way."""

    plane: int
    add: bool
    """True: the class is missing there; False: it is there and should not be"""
    size: int
    """number of pixels"""
    numbered: Integer[np.ndarray, "h w"]
    """every error of this plane and way, each by its number"""
    number: int

    @cached_property
    def mask(self) -> Bool[np.ndarray, "h w"]:
        """Its pixels; made when asked for, as a noisy mask has hundreds of errors."""
        return self.numbered == self.number


def find_errors(
    predicted: Bool[np.ndarray, "k h w"],
    y0: Bool[np.ndarray, "k h w"],
    *,
    exclusive: bool = False,
) -> list[Error]:
    """Return the connected errors, the largest first; of equals, the first in reading order.

    Of exclusive classes (plane 0 is the background) every wrong pixel misses its true class, so
    each error is an addition. Of others a class is missing or too much.
    """
    errors = []
    for plane, (ours, truth) in enumerate(zip(predicted, y0, strict=True)):
        errors += _components(plane, True, truth & ~ours)
        if not exclusive:
            errors += _components(plane, False, ours & ~truth)
    return sorted(errors, key=lambda error: -error.size)


def _components(plane: int, add: bool, wrong: np.ndarray) -> list[Error]:
    # SciPy's annotations do not know that without `output` it returns a pair
    from scipy import ndimage  # deferred: a prediction starts without SciPy

    labelled, count = ndimage.label(wrong, structure=EIGHT)  # pyright: ignore[reportGeneralTypeIssues]
    sizes = np.bincount(labelled.ravel(), minlength=count + 1).tolist()
    return [Error(plane, add, sizes[number], labelled, number) for number in range(1, count + 1)]


def bounding_box(mask: Bool[np.ndarray, "h w"], margin: int = 0) -> tuple[slice, slice]:
    """Return the rows and columns that hold a mask, and a margin where the image has one."""
    stretches = []
    for axis in (1, 0):
        places = np.flatnonzero(mask.any(axis=axis))
        first, last = (places[0], places[-1] + 1) if len(places) else (0, 0)
        stretches.append(slice(max(int(first) - margin, 0), int(last) + margin))
    return stretches[0], stretches[1]


def depth(mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Return each pixel's distance to the nearest pixel outside; the image's rim is outside too."""
    from scipy import ndimage  # deferred: a prediction starts without SciPy

    box, depths = bounding_box(mask), np.zeros(mask.shape)
    padded = np.pad(mask[box], 1)  # a box alone is computed: errors are small
    depths[box] = np.asarray(ndimage.distance_transform_edt(padded))[1:-1, 1:-1]
    return depths


def deepest_point(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int]:
    """Return the pixel that lies deepest in a mask; of equals, the first in reading order."""
    row, column = np.unravel_index(depth(mask).argmax(), mask.shape)
    return int(row), int(column)


def fitting_radius(mask: Bool[np.ndarray, "h w"], point: Point) -> float:
    """Return the radius of the widest click at a point that touches pixels of the mask alone.

    Outside of the image counts as outside of the mask. It is 0 for a point outside of the mask.
    """
    row, column = (int(np.floor(place + 0.5)) for place in point)
    if not mask[row, column]:
        return 0.0
    box = bounding_box(mask)
    beside = [
        np.maximum(np.abs(places - 1 + part.start - centre) - 0.5, 0)
        for places, part, centre in zip(np.nonzero(~np.pad(mask[box], 1)), box, point, strict=True)
    ]
    return float(np.hypot(*beside).min())
