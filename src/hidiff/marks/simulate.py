"""Marks as a person would make them at the errors of a mask: for evaluation and for training.

Masks are those that the networks see, and so are points: the image as given has the same size.
Randomness arrives as a numpy generator, such as `seeded(seed, case, round)`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from hidiff import seeding
from hidiff.marks.errors import (
    Error,
    bounding_box,
    deepest_point,
    depth,
    find_errors,
    fitting_radius,
)
from hidiff.marks.footprint import Number, Point
from hidiff.marks.mark import Area, Click, Mark
from hidiff.marks.strokes import STROKES, WARP, WIDEST, break_up, warp, widen


def seeded(seed: int, *words: int | str) -> np.random.Generator:
    """Return a generator that depends on the seed and the words alone."""
    return np.random.Generator(np.random.Philox(key=seeding.derive(seed, *words)))


def click_deepest(error: Error) -> Click:
    """Click at the deepest point of an error, as wide as fits: the clicker of evaluation.

    The point is that of RITM's clicker (Sofiiuk et al., arXiv 2102.06583).
    """
    point = deepest_point(error.mask)
    return _click(error, point, fitting_radius(error.mask, point))


def click_inside(error: Error, rng: np.random.Generator, radius: Number | None = None) -> Click:
    """Click at random in the inner half of an error, as wide as fits: a click of training.

    The inner half is where the depth is more than half of the greatest. `radius` makes it so wide
    whatever fits.
    """
    depths = depth(error.mask)
    point = _pick(depths > depths.max() / 2, rng)
    return _click(error, point, fitting_radius(error.mask, point) if radius is None else radius)


def draw_stroke(error: Error, rng: np.random.Generator, *, rough: bool = False) -> Area:
    """Draw a stroke over an error: one of STROKES, broken, warped and of a random width.

    An exact stroke stays inside the error. A rough one may lie beside it, as a hand's does.
    """
    names = sorted(STROKES)
    radius = rng.uniform(0, WIDEST) * depth(error.mask).max()
    # a stroke stays near its error, so the rest of the image is left out
    box = bounding_box(error.mask, margin=int(WARP[1] + radius) + 2)
    part = error.mask[box]
    clean = STROKES[names[rng.integers(len(names))]](part, rng)
    broken = break_up(clean, rng)
    stroke = widen(warp(broken, rng), radius)
    if not rough:
        # one that breaking or warping took outside whole is drawn without them
        stroke = next(each & part for each in (stroke, broken, clean) if (each & part).any())
    mask = np.zeros_like(error.mask)
    mask[box] = stroke
    return Area(plane=error.plane, add=error.add, exact=not rough, mask=mask)


def pick_error(errors: Sequence[Error], rng: np.random.Generator) -> Error:
    """Return one of the errors, with chances in proportion to their sizes."""
    sizes = np.array([error.size for error in errors], dtype=np.float64)
    return errors[int(rng.choice(len(errors), p=sizes / sizes.sum()))]


def simulate_marks(
    predicted: Bool[np.ndarray, "k h w"],
    y0: Bool[np.ndarray, "k h w"],
    number: int,
    rng: np.random.Generator,
    *,
    exclusive: bool = False,
    strokes: Number = 0.5,
    rough: Number = 0.5,
    radius: Number | None = None,
) -> list[Mark]:
    """Return marks of training at the errors of a mask, at most `number`; fewer if it has fewer.

    `strokes` is the share of strokes among them, the others being clicks of the given radius or as
    wide as fits, and `rough` the share of rough ones among the strokes. What a mark covers is no
    error for the next.
    """
    predicted, marks = predicted.copy(), []
    size = (predicted.shape[1], predicted.shape[2])
    for _ in range(number):
        errors = find_errors(predicted, y0, exclusive=exclusive)
        if not errors:
            break
        error = pick_error(errors, rng)
        if rng.random() < strokes:
            mark = draw_stroke(error, rng, rough=bool(rng.random() < rough))
        else:
            mark = click_inside(error, rng, radius)
        marks.append(mark)
        footprint = mark.footprint(size, size)
        here = predicted[:, *footprint.box]
        here[:, footprint.mask] = y0[:, *footprint.box][:, footprint.mask]
        if not (footprint.mask & error.mask[footprint.box]).any():
            # a rough stroke may miss its error whole; a person would not draw it again
            predicted[:, error.mask] = y0[:, error.mask]
    return marks


@dataclass(frozen=True)
class MessyPerson:
    """Someone who clicks as people do, not as an optimum would have it."""

    width: tuple[Number, Number] = (0.5, 1.5)
    """least and greatest radius, as a share of what fits into the error"""
    jitter: Number = 0.3
    """deviation of the point from its aim, as a share of the radius that fits there"""
    border: Number = 0.25
    """share of clicks near an error's border: in the outer half of its depth"""
    wrong: Number = 0.1
    """share of clicks in a wrong place, where nothing is to be corrected"""
    inside: Number = 0.1
    """share of clicks that add a class where the mask has it already, and is right"""

    def click(
        self,
        predicted: Bool[np.ndarray, "k h w"],
        y0: Bool[np.ndarray, "k h w"],
        rng: np.random.Generator,
        *,
        exclusive: bool = False,
    ) -> Click | None:
        """Click once, for the largest error; None for a mask without errors.

        A click in a wrong place says what one at the error would, about a pixel that is right; it
        is as wide as if it were at the error.
        """
        errors = find_errors(predicted, y0, exclusive=exclusive)
        if not errors:
            return None
        error = errors[0]
        aim = self._aim(error, rng)
        fits = max(fitting_radius(error.mask, deepest_point(error.mask)), 0.5)
        radius = fits * rng.uniform(*self.width)
        lot, right = rng.random(), (predicted == y0).all(axis=0)
        if lot < self.wrong and right.any():
            return _click(error, _pick(right, rng), radius)
        already = predicted & y0
        planes = [plane for plane in range(len(y0)) if already[plane].any()]
        if lot < self.wrong + self.inside and planes:
            plane = planes[rng.integers(len(planes))]
            return Click(plane=plane, point=_pick(already[plane], rng), radius=radius)
        moved = np.array(aim) + rng.normal(size=2) * self.jitter * fits
        height, width = error.mask.shape
        row, column = moved.clip(0, [height - 1, width - 1])
        return _click(error, (float(row), float(column)), radius)

    def _aim(self, error: Error, rng: np.random.Generator) -> Point:
        """Return the deepest point, or one near the border."""
        if rng.random() >= self.border:
            return deepest_point(error.mask)
        depths = depth(error.mask)
        outer = error.mask & (depths <= max(depths.max() / 2, 1))
        return _pick(outer, rng)


def _click(error: Error, point: Point, radius: Number) -> Click:
    return Click(plane=error.plane, add=error.add, point=point, radius=radius)


def _pick(mask: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> Point:
    """Return a random pixel of a mask."""
    places = np.argwhere(mask)
    row, column = places[rng.integers(len(places))]
    return float(row), float(column)
