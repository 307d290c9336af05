"""The record of a session: what a person did, in order."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool

from hidiff.labels import BACKGROUND, Labels
from hidiff.marks import Area, Click, Mark, Stroke


@dataclass(frozen=True)
class Placed:
    """A mark in a slice."""

    number: int
    """number of the slice; 0 for a picture"""
    mark: Mark


@dataclass(frozen=True, eq=False)
class Entry:
    """One thing that a person did."""

    action: str
    """click, stroke, lock, unlock, choose or carry_on"""
    placed: tuple[Placed, ...] = ()
    """the marks; of a carry_on what neighbouring slices say of each other"""
    lock_label: str | None = None
    """class that no pixel gains or loses any more"""
    lock_areas: Mapping[int, Bool[np.ndarray, "h w"]] = field(default_factory=dict)
    """locked pixels, by slice"""
    odds: float = 1.0
    """factor by which a chosen candidate changed the odds of every class"""
    chosen_slices: tuple[int, ...] = ()
    """slices of the chosen candidate"""

    @property
    def slices(self) -> tuple[int, ...]:
        """Return the slices that an entry touches, in ascending order."""
        numbers = {each.number for each in self.placed}
        return tuple(sorted(numbers | set(self.lock_areas) | set(self.chosen_slices)))

    def in_slice(self, number: int) -> list[Mark]:
        """Return its marks in one slice."""
        return [each.mark for each in self.placed if each.number == number]

    def describe(self, labels: Labels) -> dict[str, Any]:
        """Return it in plain values, painted pixels as their number."""
        described: dict[str, Any] = {"action": self.action}
        if self.action in ("click", "stroke"):
            described |= describe_mark(self.placed[0].mark, labels)
        if self.slices:
            described["slices"] = list(self.slices)
        if self.lock_label is not None:
            described["label"] = self.lock_label
        if self.action == "lock" and self.lock_areas:
            described["pixels"] = int(sum(area.sum() for area in self.lock_areas.values()))
        if self.action == "choose":
            described["odds"] = self.odds
        return described


def describe_mark(mark: Mark, labels: Labels) -> dict[str, Any]:
    """Return a mark in plain values, painted pixels as their number."""
    described: dict[str, Any] = {
        "label": BACKGROUND if mark.plane is None else labels.plane_names[mark.plane],
        "add": mark.add,
        "exact": mark.exact,
    }
    if isinstance(mark, Click):
        return described | {"point": list(mark.point), "radius": mark.radius}
    if isinstance(mark, Stroke):
        points = [list(point) for point in mark.points]
        return described | {"points": points, "radius": mark.radius}
    assert isinstance(mark, Area)
    return described | {"pixels": int(mark.mask.sum())}


@dataclass(frozen=True)
class Locks:
    """Pixels and planes that must not change."""

    areas: Mapping[int, Bool[np.ndarray, "h w"]]
    """locked pixels, by slice"""
    planes: frozenset[int]
    """planes that no pixel gains or loses"""

    @staticmethod
    def of(record: Iterable[Entry], labels: Labels) -> "Locks":
        """Return what a record has locked in the end."""
        areas: dict[int, np.ndarray] = {}
        planes: set[int] = set()
        for entry in record:
            if entry.action == "unlock":
                areas, planes = {}, set()
            for number, area in entry.lock_areas.items():
                areas[number] = area | areas.get(number, np.zeros_like(area))
            if entry.lock_label is not None:
                planes |= set(planes_of(entry.lock_label, labels))
        return Locks(areas, frozenset(planes))

    def area(self, number: int, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
        """Return the locked pixels of a slice."""
        return self.areas.get(number, np.zeros(size, dtype=bool))


def label_names(labels: Labels) -> tuple[str, ...]:
    """Return the names that a mark can have: the classes, and the background."""
    return (*labels.class_names, BACKGROUND)


def plane_of(name: str, labels: Labels) -> int | None:
    """Return the plane that a label's name means; None for the background, if it has none.

    Raises ValueError, with the names that there are, for an unknown one.
    """
    if name not in label_names(labels):
        raise ValueError(
            f"the label is {name!r}, but this model has {', '.join(label_names(labels))}. Choose "
            "one of these."
        )
    return labels.plane_names.index(name) if name in labels.plane_names else None


def planes_of(name: str, labels: Labels) -> Sequence[int]:
    """Return the planes that are locked with a label: all of them for a background without one."""
    plane = plane_of(name, labels)
    return range(labels.num_planes) if plane is None else (plane,)


def odds_of(record: Iterable[Entry], number: int) -> float:
    """Return the factor by which chosen candidates have changed the odds in a slice."""
    odds = [entry.odds for entry in record if number in entry.chosen_slices]
    return math.prod(odds, start=1.0)
