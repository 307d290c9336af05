"""Corrections carried on to neighbouring slices, for as long as they change anything there."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import UInt8

from hidiff.correction.history import History, Patch
from hidiff.correction.maps import SessionMaps
from hidiff.correction.record import Placed
from hidiff.labels import Labels
from hidiff.marks import Area

Recompute = Callable[[int, Sequence[Placed]], Patch]
"""number of a slice, what is carried there -> what it changes; nothing is changed yet"""


def carry(
    maps: SessionMaps, history: History, recompute: Recompute
) -> tuple[list[Placed], list[Patch]]:
    """Return rough marks for the neighbours of every slice with marks, and what they change.

    Where the labels of a slice were corrected, the next slice is told so, as a hint and as doubt in
    its prior, and corrected in its turn; what changed there goes on to the next. It ends at a slice
    where nothing changes, at one with marks of its own, and where a frame ends.
    """
    marked = {
        each.number
        for entry in history.record
        if entry.action != "carry_on"
        for each in entry.placed
    }
    depth = maps.opened.opened.geometry.frame_depth
    reached: set[int] = set(marked)
    carried: list[Placed] = []
    patches: list[Patch] = []
    for source in sorted(marked):
        now = maps.arrays["labels"][..., source, :, :]
        before = _labels_at_first(maps, history, source)
        for direction in (-1, 1):
            left, right, number = before, now, source + direction
            while number not in reached and number // depth == source // depth:
                if not 0 <= number < len(maps.is_known):
                    break
                maps.need(number)
                there = maps.arrays["labels"][..., number, :, :]
                placed = list(_say(left, right, there, number, maps.predictor.labels))
                if not placed:
                    break
                patch = recompute(number, placed)
                after = there.copy()
                after[..., patch.rows, patch.columns] = patch.values["labels"]
                if np.array_equal(after, there):
                    break
                reached.add(number)
                carried += placed
                patches.append(patch)
                left, right, number = there, after, number + direction
    return carried, patches


def _labels_at_first(
    maps: SessionMaps, history: History, number: int
) -> UInt8[np.ndarray, "*k h w"]:
    """Return the labels of a slice before the first step."""
    labels = maps.arrays["labels"][..., number, :, :].copy()
    for step in reversed(history.steps[: history.position]):
        for patch in step.patches:
            if patch.number == number:
                labels[..., patch.rows, patch.columns] = patch.values["labels"]
    return labels


def _say(
    before: UInt8[np.ndarray, "*k h w"],
    after: UInt8[np.ndarray, "*k h w"],
    there: UInt8[np.ndarray, "*k h w"],
    number: int,
    labels: Labels,
) -> Iterator[Placed]:
    """Yield what a slice's change says to the next one, where that has not got it yet."""
    if labels.kind == "exclusive":
        changed = (before != after) & (there != after)
        for plane in np.unique(after[changed]).tolist():
            mask = changed & (after == plane)
            yield Placed(number, Area(plane=plane, add=True, exact=False, mask=mask))
        return
    planes = [each if labels.kind == "regions" else each[None] for each in (before, after, there)]
    for plane, (was, now, next_one) in enumerate(zip(*planes, strict=True)):
        changed = (was != now) & (next_one != now)
        for add in (True, False):
            mask = changed & ((now > 0) == add)
            if mask.any():
                yield Placed(number, Area(plane=plane, add=add, exact=False, mask=mask))
