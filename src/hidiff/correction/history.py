"""Changes of the maps that can be taken back, bit for bit."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Shaped

from hidiff.correction.record import Entry

Maps = dict[str, Shaped[np.ndarray, "*k d h w"]]


@dataclass(eq=False)
class Patch:
    """New values of the maps in a box of one slice; once it is applied, the former ones."""

    number: int
    """number of the slice"""
    rows: slice
    columns: slice
    values: dict[str, Shaped[np.ndarray, "*k rows columns"]]

    def swap(self, maps: Maps) -> None:
        """Put the values into the maps, and keep those that were there."""
        for name, values in self.values.items():
            there = maps[name][..., self.number, self.rows, self.columns]
            former = there.copy()
            there[...] = values
            self.values[name] = former

    def differs(self, maps: Maps, name: str) -> Bool[np.ndarray, "rows columns"]:
        """Return where a map differs from the values, in any plane."""
        there = maps[name][..., self.number, self.rows, self.columns]
        unequal = there != self.values[name]
        return unequal.any(axis=0) if unequal.ndim == 3 else unequal


@dataclass(frozen=True)
class Change:
    """The pixels that the latest change, or its undoing, changed."""

    box: tuple[slice, ...]
    """smallest box that holds every pixel whose label, probability or uncertainty changed: rows
    and columns, of a volume slices, rows and columns, as its points are"""
    mask: Bool[np.ndarray, "*box"]
    """pixels of the box whose labels changed"""
    slices: tuple[int, ...] = ()
    """slices with a change, in ascending order"""


@dataclass(eq=False)
class Step:
    """An entry of the record, and what it did to the maps."""

    entry: Entry
    patches: list[Patch]

    def swap(self, maps: Maps, num_axes: int) -> Change:
        """Do it, or take it back if it was done."""
        changed = _find_change(self.patches, maps, num_axes)
        for patch in self.patches:
            patch.swap(maps)
        return changed


class History:
    """Steps in order; those from `position` on are undone."""

    def __init__(self, steps: list[Step] | None = None, position: int | None = None):
        self.steps = steps or []
        self.position = len(self.steps) if position is None else position

    @property
    def record(self) -> tuple[Entry, ...]:
        """Return the entries that count: those that were not undone."""
        return tuple(step.entry for step in self.steps[: self.position])

    def add(self, step: Step) -> None:
        """Append a step that was done; undone ones are forgotten."""
        self.steps[self.position :] = [step]
        self.position += 1


def _find_change(patches: list[Patch], maps: Maps, num_axes: int) -> Change:
    """Compare patches with the maps: the box of all differences, with its last `num_axes` axes."""
    parts = []
    for patch in patches:
        label = patch.differs(maps, "labels")
        touched = label | patch.differs(maps, "probability") | patch.differs(maps, "uncertainty")
        if touched.any():
            rows, columns = (_span(np.asarray(touched.any(axis=axis))) for axis in (1, 0))
            low = (patch.number, patch.rows.start + rows.start, patch.columns.start + columns.start)
            parts.append((np.array(low), label[rows, columns][None]))
    if not parts:
        box = (slice(0, 0),) * num_axes
        return Change(box, np.zeros((0,) * num_axes, dtype=bool))
    start = np.min([low for low, _ in parts], axis=0)
    stop = np.max([low + label.shape for low, label in parts], axis=0)
    mask = np.zeros(stop - start, dtype=bool)
    for low, label in parts:
        mask[_box(low - start, low - start + label.shape)] |= label
    slices = tuple(sorted({int(low[0]) for low, _ in parts}))
    return Change(_box(start, stop)[-num_axes:], mask[0] if num_axes == 2 else mask, slices)


def _box(start: np.ndarray, stop: np.ndarray) -> tuple[slice, ...]:
    return tuple(slice(int(low), int(high)) for low, high in zip(start, stop, strict=True))


def _span(marked: Bool[np.ndarray, "n"]) -> slice:
    places = np.flatnonzero(marked)
    return slice(int(places[0]), int(places[-1]) + 1)
