"""A session: an image, its mask, and a person who corrects it."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hidiff.correction.candidates import Candidate, find_candidates
from hidiff.correction.carry import carry
from hidiff.correction.history import Change, History, Patch, Step
from hidiff.correction.maps import SessionMaps
from hidiff.correction.origin import Origin
from hidiff.correction.places import (
    check_slice,
    is_mask,
    place_click,
    place_mask,
    place_stroke,
    split_mask,
)
from hidiff.correction.recompute import SliceMarks, recompute
from hidiff.correction.record import Entry, Locks, Placed, odds_of, plane_of
from hidiff.correction.remarks import (
    remark_on_contradictions,
    remark_on_locks,
    remark_on_model,
)
from hidiff.correction.session_file import save_session
from hidiff.correction.settings import MB, CorrectionSettings
from hidiff.correction.view import SessionView, locked
from hidiff.prediction import Prediction
from hidiff.prediction.writers import write_prediction


class Session(SessionView):
    """A mask that a person corrects, as `hidiff.load(...).correct(image)` returns it.

    Points are (row, column) in pixels of the image as given, of a volume (slice, row, column);
    radii are in such pixels. Maps are in the form of the image's file, as those of a prediction.
    May be used from several threads; each call waits for the one before it, unless that works ahead
    (`segment`, `prepare`).
    """

    def __init__(
        self,
        maps: SessionMaps,
        settings: CorrectionSettings,
        origin: Origin,
        history: History | None = None,
    ):
        super().__init__(maps, history or History())
        self.settings = settings
        self.origin = origin
        self._candidates: tuple[int, list[Candidate]] = (-1, [])
        self._has_remarked = False

    # Marks

    @locked
    def click(
        self,
        point: Any,
        label: str,
        *,
        add: bool = True,
        radius: float | int = 4.0,
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
        radius: float | int = 4.0,
        exact: bool = True,
        slice: int | None = None,
    ) -> Change:
        """Mark painted pixels, or a line through points whose half-width is `radius`.

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
        """Lock some pixels, so that they never change, or a class, so that it keeps its pixels.

        `mask` has the form of the image, or of one `slice`. Later marks do not change what is
        locked.
        """
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
        """Remove all locks."""
        self._commit(Step(Entry("unlock"), []))

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

    @locked
    def carry_on(self) -> Change:
        """Carry corrections on to neighbouring slices of a volume. Return what changed.

        A corrected slice changes the next one in two ways: as a rough hint, and by
        `carry_log_odds` added to its prior. This goes on, up and down, until nothing changes or
        until a slice has marks of its own.
        """
        if self.num_slices == 1:
            raise ValueError("carry_on is for volumes, but the image has one slice only.")
        if self._maps.opened.crop is not None:
            raise ValueError("carry_on needs neighbouring slices, but this model sees one crop.")
        if not self._maps.refine:
            raise ValueError("carry_on needs a refiner, but this model has no trained one.")

        def recompute_carried(number: int, placed: Sequence[Placed]) -> Patch:
            return self._recompute(Entry("carry_on", tuple(placed)), number)[0]

        carried, patches = carry(self._maps, self._history, recompute_carried)
        step = Step(Entry("carry_on", tuple(carried)), patches)
        if not patches:  # nothing to record
            return step.swap(self._maps.arrays, self._num_axes)
        return self._commit(step)

    # Candidates

    @locked
    def candidates(self, number: int = 4, *, slice: int | None = None) -> list[Candidate]:
        """Return up to `number` different masks, the present one first; `choose` takes one.

        They are the probability cut at other thresholds. Every mark and lock is kept. The Dice of
        any two is below 0.98, so there may be fewer. `slice` is the only slice to change.
        """
        if number < 1:
            raise ValueError(f"{number} candidates are asked for, but at least 1 is wanted.")
        geometry = self.image.geometry
        slices = range(self.num_slices) if slice is None else [check_slice(slice, geometry)]
        for each in slices:
            self._maps.need(each)
        locks = Locks.of(self._history.record, self._labels)
        found = find_candidates(self._maps, locks, number, list(slices))
        self._candidates = (self.revision, found)
        return found

    @locked
    def choose(self, number: int) -> Change:
        """Take one of the latest candidates, counted from 0. Return what changed."""
        revision, candidates = self._candidates
        if revision != self.revision:
            raise ValueError("the mask has changed since candidates() was called: call it again.")
        if not 0 <= number < len(candidates):
            raise ValueError(
                f"candidate {number} is chosen, but there are {len(candidates)}, from 0."
            )
        chosen = candidates[number]
        slices = tuple(patch.number for patch in chosen.patches)
        entry = Entry("choose", odds=chosen.odds, chosen_slices=slices)
        return self._commit(Step(entry, list(chosen.patches)))

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
            for name in ("probability", "prior"):
                del now.maps[name]
        return write_prediction(
            now, folder, stem=self.name or "image", formats=formats, overwrite=overwrite
        )

    @locked
    def save(self, path: Path | str) -> Path:
        """Write the session as one file, from which `hidiff.open_session` goes on; return its path.

        It holds the record, the maps and all that undo and redo need. The model is named by its
        path and the hash of its weights, the image by its path and the hash of its content.
        """
        return save_session(
            Path(path), self._maps, self._history, self.settings, self.origin, self.revision
        )

    @locked
    def limit_cache(self, megabytes: int) -> None:
        """Change the most memory for what the networks made of windows (`settings.cache_mb`)."""
        self._maps.keep.most_bytes = megabytes * MB

    # How

    def _do(self, entry: Entry) -> Change:
        """Compute what an entry changes, then change it."""
        patches, remarks = [], []
        for number in entry.slices:
            patch, more = self._recompute(entry, number)
            patches.append(patch)
            remarks += more
        change = self._commit(Step(entry, patches))
        if not self._has_remarked:
            self._has_remarked = True
            remarks += remark_on_model(self._maps.predictor, self._maps.refine)
        for text in dict.fromkeys(remarks):
            warnings.warn(text, stacklevel=4)
        return change

    def _recompute(self, entry: Entry, number: int) -> tuple[Patch, list[str]]:
        """Return what an entry changes in a slice, and what is to be said about it."""
        record = (*self._history.record, entry)
        marks = [(mark, each) for each in record for mark in each.in_slice(number)]
        placed = SliceMarks(
            number,
            [mark for mark, _ in marks],
            len(entry.in_slice(number)),
            [each.action == "carry_on" for _, each in marks],
        )
        size, locks = self.image.geometry.size, Locks.of(record, self._labels)
        drawn = placed.draw(size, size, self._labels)
        odds = odds_of(record, number)
        patch = recompute(self._maps, placed, drawn, locks, odds, self.settings)
        remarks = remark_on_contradictions(placed, drawn)
        return patch, remarks + remark_on_locks(placed, drawn, locks, size)

    @property
    def _num_axes(self) -> int:
        """Axes of a point: 2 in a picture, 3 in a volume."""
        return min(len(self.image.geometry.native_shape), 3)

    def _commit(self, step: Step) -> Change:
        self._history.add(step)
        return self._swap(step)

    def _swap(self, step: Step) -> Change:
        self._changed = step.swap(self._maps.arrays, self._num_axes)
        self.revision += 1
        return self._changed
