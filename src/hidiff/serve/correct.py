"""Corrections as the API takes them, done in a session."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from hidiff.serve.api.schema import Lock, Mark
from hidiff.serve.opened import Opened, encode
from hidiff.serve.refusal import Refusal, one_line
from hidiff.serve.remarks import caught_warnings

MOST_SENT = 4_000_000  # pixels of a changed box: beyond it a viewer asks for slices anew


def change(opened: Opened, act: Callable[[Opened], object]) -> dict[str, Any]:
    """Correct a session; return what changed, as the API describes it."""
    before = opened.session.revision
    with caught_warnings() as caught:
        act(opened)
    box = opened.take_changes() if opened.session.revision != before else None
    codes = None
    if box is not None:
        part = opened.in_box(box)
        codes = base64.b64encode(part.tobytes()).decode() if part.size <= MOST_SENT else None
    opened.candidates = {}
    remarks = [one_line(line) for line in caught]
    return {**opened.masks_now(), "box": box, "codes": codes, "warnings": remarks}


def add_mark(opened: Opened, mark: Mark) -> None:
    """Add a click or a stroke."""
    if (mark.point is None) == (mark.points is None):
        raise Refusal(422, "a mark has either a point (a click) or points (a stroke).")
    points = mark.points or [mark.point or []]
    _check_points(opened, points)
    options: dict[str, Any] = {"label": mark.label, "add": mark.add, "radius": mark.radius}
    if mark.point is not None and mark.exact:
        opened.session.click(tuple(mark.point), **options)
    else:
        opened.session.stroke([tuple(each) for each in points], exact=mark.exact, **options)


def add_lock(opened: Opened, lock: Lock) -> None:
    """Lock a class, or the pixels along a stroke."""
    if (lock.label is None) == (lock.points is None):
        raise Refusal(422, "a lock has either a label or points.")
    if lock.points is None:
        opened.session.lock(label=lock.label)
        return
    _check_points(opened, lock.points)
    number = int(lock.points[0][0]) if len(lock.points[0]) == 3 else 0
    opened.check_slice(number)
    opened.session.lock(_painted(lock, opened.geometry.size), slice=number)


def find_candidates(opened: Opened, most: int, number: int) -> list[dict[str, Any]]:
    """Return other masks of a slice with a note on how they differ from it, and keep them."""
    opened.check_slice(number)
    only = number if opened.geometry.shape[0] > 1 else None
    # the first is the mask as it is
    _, *others = opened.session.candidates(most + 1, slice=only)
    kind, now = opened.classes.kind, opened.codes(number)
    opened.candidates = {
        place: (number, encode(each.labels, kind)) for place, each in enumerate(others, start=1)
    }
    return [
        {"number": place, "note": _compare(codes, now)}
        for place, (_, codes) in opened.candidates.items()
    ]


def candidate(opened: Opened, place: int, number: int) -> UInt8[np.ndarray, "h w"]:
    """Return the labels of a candidate in its slice."""
    if place not in opened.candidates:
        raise Refusal(404, "there is no such candidate. Ask for candidates first.")
    slice, codes = opened.candidates[place]
    if slice != number:
        raise Refusal(404, f"the candidates are of slice {slice}, but {number} was named.")
    return codes


def choose(opened: Opened, place: int) -> None:
    """Take a candidate as the mask."""
    if place not in opened.candidates:
        raise Refusal(404, "there is no such candidate. Ask for candidates first.")
    opened.session.choose(place)


def _compare(other: UInt8[np.ndarray, "h w"], now: UInt8[np.ndarray, "h w"]) -> str:
    counts = {
        "px more": int(((other != 0) & (now == 0)).sum()),
        "px less": int(((other == 0) & (now != 0)).sum()),
        "px of another class": int(((other != now) & (other != 0) & (now != 0)).sum()),
    }
    return ", ".join(f"{count:,} {unit}" for unit, count in counts.items() if count)


def _check_points(opened: Opened, points: list[list[float]]) -> None:
    axes = 3 if opened.geometry.grid is not None else 2
    if any(len(point) != axes for point in points):
        raise Refusal(422, f"a point of this image has {axes} numbers.")
    if axes == 3 and any(point[0] != int(points[0][0]) for point in points):
        raise Refusal(422, "all points of a stroke lie in one slice, a whole number.")


def _painted(lock: Lock, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Return the pixels along a stroke."""
    from hidiff.marks import Stroke

    points = tuple((point[-2], point[-1]) for point in lock.points or [])
    painted = Stroke(plane=None, points=points, radius=lock.radius).footprint(size, size)
    mask = np.zeros(size, dtype=bool)
    mask[painted.box] = painted.mask
    return mask
