"""A session: an image, its mask, and a person who corrects it."""

import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Shaped

from hidiff.correction.history import Change, History, Step
from hidiff.correction.maps import SessionMaps
from hidiff.correction.places import is_mask, place_click, place_mask, place_stroke, split_mask
from hidiff.correction.recompute import SliceMarks, recompute
from hidiff.correction.record import Entry, Locks, label_names, plane_of
from hidiff.correction.settings import CorrectionSettings
from hidiff.images import Image
from hidiff.marks import Drawn, Mark, draw_marks
from hidiff.prediction import Prediction
from hidiff.prediction.writers import write_prediction

F = TypeVar("F", bound=Callable[..., Any])


def locked(method: F) -> F:
    """Let one thread at a time into a session."""

    @wraps(method)
    def run(self: "Session", *args: Any, **options: Any) -> Any:
        with self.mutex:
            return method(self, *args, **options)

    return run  # pyright: ignore[reportReturnType] (the same signature)


class Session:
    """A mask that a person corrects, as `hidiff.load(...).correct(image)` returns it.

    Points are (row, column) in pixels of the image as given, of a volume (slice, row, column);
    radii are in such pixels. Maps are in the form of the image's file, as those of a prediction.
    May be used from several threads; each call waits for the one before it.
    """

    def __init__(self, maps: SessionMaps, settings: CorrectionSettings, history: History):
        self.mutex = RLock()
        """held while a call changes or reads the session"""
        self.settings = settings
        self.revision = 0
        """goes up by one with every change, undo and redo"""
        self._maps = maps
        self._history = history
        self._changed: Change | None = None
        self._warned_of_hints = False

    # Facts

    @property
    def name(self) -> str:
        """The name of the image, and of the files that `write` makes."""
        return self._maps.opened.name

    @property
    def image(self) -> Image:
        """The image, with its raw values."""
        return self._maps.opened.opened

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the image as given, without channels."""
        return self.image.geometry.native_shape

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels that a mark can have: the classes, and "background"."""
        return label_names(self._labels)

    @property
    def num_slices(self) -> int:
        """Number of slices; 1 of a picture."""
        return self.image.geometry.shape[0]

    @property
    @locked
    def marks(self) -> tuple[dict[str, Any], ...]:
        """What was done, in order, in plain values; what was undone is left out."""
        return tuple(entry.describe(self._labels) for entry in self._history.record)

    @property
    @locked
    def can_undo(self) -> bool:
        """Whether there is anything to undo."""
        return self._history.position > 0

    @property
    @locked
    def can_redo(self) -> bool:
        """Whether anything was undone that can be done again."""
        return self._history.position < len(self._history.steps)

    # Maps

    @property
    def labels(self) -> Shaped[np.ndarray, "*native"]:
        """One class: 0, 1; exclusive: 0 the background, then in order; regions: a bit a plane."""
        return self._native("labels")

    @property
    def probability(self) -> Shaped[np.ndarray, "*native"]:
        """Probability of each plane, 0..1; sums to 1 over exclusive planes."""
        return self._native("probability")

    @property
    def uncertainty(self) -> Shaped[np.ndarray, "*native"]:
        """Entropy of the probability in bits; of each plane, for regions."""
        return self._native("uncertainty")

    @property
    def prior(self) -> Shaped[np.ndarray, "*native"]:
        """Probability of each plane before the refiner: the segmentor's, or the one given."""
        return self._native("prior")

    @property
    @locked
    def changed(self) -> Change | None:
        """The box and mask of the latest change; None before the first."""
        return self._changed

    @locked
    def slice_maps(self, number: int) -> dict[str, Shaped[np.ndarray, "*k h w"]]:
        """Return copies of the maps of one slice: labels, probability, uncertainty and prior."""
        self._maps.need(number)
        names = ("labels", "probability", "uncertainty", "prior")
        return {name: self._maps.arrays[name][..., number, :, :].copy() for name in names}

    # Marks

    @locked
    def click(
        self, point: Sequence[float], label: str, *, add: bool = True, radius: float = 4.0
    ) -> Change:
        """Mark a disk: it is this class, or without `add` it is not. Return what changed.

        The label "background" stands for none of the classes. Raises ValueError for an unknown
        label or a point outside the image; then nothing is changed.
        """
        plane = plane_of(label, self._labels)
        placed = place_click(point, plane, add, radius, self.image.geometry)
        return self._do(Entry("click", (placed,)))

    @locked
    def stroke(
        self,
        mask_or_points: Any,
        label: str,
        *,
        add: bool = True,
        radius: float = 4.0,
        exact: bool = True,
        slice: int | None = None,
    ) -> Change:
        """Mark painted pixels, or a line through points, half as wide as `radius`.

        A mask has the form of the image, or is (rows, columns) of `slice`. An exact stroke is
        certain; a rough one is a hint, which the model may overrule.
        """
        plane, geometry = plane_of(label, self._labels), self.image.geometry
        if is_mask(mask_or_points, geometry, slice):
            placed = place_mask(mask_or_points, plane, add, exact, geometry, slice)
        else:
            points = mask_or_points
            if slice is not None:
                points = [(slice, *point) for point in points]
            placed = (place_stroke(points, plane, add, radius, exact, geometry),)
        return self._do(Entry("stroke", placed))

    @locked
    def lock(self, mask: Any = None, *, label: str | None = None, slice: int | None = None) -> None:
        """Let nothing change these pixels any more, or let no pixel gain or lose this class."""
        if (mask is None) == (label is None):
            raise ValueError("lock either a mask or a label=: give one of the two.")
        if label is not None:
            plane_of(label, self._labels)
            self._commit(Step(Entry("lock", lock_label=label), []))
        else:
            areas = split_mask(mask, self.image.geometry, slice)
            self._commit(Step(Entry("lock", lock_areas=areas), []))

    @locked
    def unlock(self) -> None:
        """Take every lock away."""
        self._commit(Step(Entry("unlock"), []))

    @locked
    def locked_area(self, number: int) -> Bool[np.ndarray, "h w"]:
        """Return the pixels of a slice that are locked, without those of locked labels."""
        locks = Locks.of(self._history.record, self._labels)
        return locks.area(number, self.image.geometry.size)

    @locked
    def undo(self) -> Change | None:
        """Take the latest change back, bit for bit; None if there is none."""
        if not self.can_undo:
            return None
        self._history.position -= 1
        return self._swap(self._history.steps[self._history.position])

    @locked
    def redo(self) -> Change | None:
        """Do the change again that was undone last, bit for bit; None if there is none."""
        if not self.can_redo:
            return None
        self._history.position += 1
        return self._swap(self._history.steps[self._history.position - 1])

    # Results

    @locked
    def prediction(self) -> Prediction:
        """Return a copy of the maps as a prediction."""
        self._maps.need_all()
        now = self._maps.prediction
        maps = {name: values.copy() for name, values in self._maps.arrays.items()}
        return Prediction(now.name, now.classes, now.geometry, now.source, maps=maps)

    @locked
    def write(
        self, folder: Path | str, *, formats: Sequence[str] = (), overwrite: bool = False
    ) -> list[Path]:
        """Write the masks as `hidiff predict` does, in the format of the image; return the paths.

        Raises FileExistsError if a file is in the way and `overwrite` is False.
        """
        now = self.prediction()
        if not now.geometry.keeps_probability:
            soft = {name: now.maps.pop(name) for name in ("probability", "prior")}
            del soft
        return write_prediction(
            now, folder, stem=self.name or "image", formats=formats, overwrite=overwrite
        )

    # How

    @property
    def _labels(self):
        return self._maps.predictor.labels

    @locked
    def _native(self, name: str) -> np.ndarray:
        self._maps.need_all()
        return self.image.geometry.native(self._maps.arrays[name]).copy()

    def _do(self, entry: Entry) -> Change:
        """Compute what an entry changes, then change it."""
        record = (*self._history.record, entry)
        locks = Locks.of(record, self._labels)
        odds = float(np.prod([each.odds for each in record]))
        patches, said = [], []
        for number in entry.slices:
            marks = [mark for each in record for mark in each.in_slice(number)]
            placed = SliceMarks(number, marks, len(entry.in_slice(number)))
            drawn = self._draw(marks)
            said += self._contradictions(marks, drawn, placed.latest)
            said += self._locked_marks(drawn, placed, locks)
            patches.append(
                recompute(self._maps, placed, drawn, locks, odds, self.settings.reach_px)
            )
        change = self._commit(Step(entry, patches))
        for text in dict.fromkeys([*said, *self._deaf()]):
            warnings.warn(text, stacklevel=4)
        return change

    def _draw(self, marks: Sequence[Mark]) -> Drawn:
        size = self.image.geometry.size
        exclusive = self._labels.kind == "exclusive"
        return draw_marks(marks, size, size, self._labels.num_planes, exclusive=exclusive)

    def _commit(self, step: Step) -> Change:
        self._history.add(step)
        return self._swap(step)

    def _swap(self, step: Step) -> Change:
        self._changed = step.swap(self._maps.arrays, len(self.image.geometry.native_shape[:3]))
        self.revision += 1
        return self._changed

    def _contradictions(self, marks: Sequence[Mark], drawn: Drawn, latest: int) -> list[str]:
        first = len(marks) - latest
        against = {early for early, late in drawn.overruled if late >= first > early}
        if not against:
            return []
        number = int(drawn.contradicted.sum())
        return [
            f"this mark contradicts {len(against)} earlier ones in places ({number} pixels have "
            "been contradicted in this slice): there the later one counts."
        ]

    def _locked_marks(self, drawn: Drawn, placed: SliceMarks, locks: Locks) -> list[str]:
        area = locks.area(placed.number, self.image.geometry.size)
        if not area.any():
            return []
        latest = drawn.author.numpy() >= len(placed.marks) - placed.latest
        number = int((latest.any(axis=0) & area).sum())
        if not number:
            return []
        return [f"{number} marked pixels are locked, and stay as they are. unlock() first."]

    def _deaf(self) -> list[str]:
        """Say once that a model does not read hints."""
        predictor = self._maps.predictor
        if self._warned_of_hints or (self._maps.refine and predictor.hybrid.refiner.reads_hints):
            return []
        self._warned_of_hints = True
        if not self._maps.refine:
            return ["this model has no trained refiner: marks change only what they touch."]
        return [
            "this model was trained without hints: marks are obeyed, but teach it little about "
            "what lies around them. A model trained with refiner.hints=true learns from them."
        ]
