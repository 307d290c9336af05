"""Warnings about a mark that was made, in a line each."""

from collections.abc import Sequence

import numpy as np

from hidiff.correction.recompute import SliceMarks
from hidiff.correction.record import Locks
from hidiff.marks import Drawn
from hidiff.prediction import Predictor

NO_REFINER = "this model has no trained refiner: marks change only what they touch."
NO_HINTS = (
    "this model was trained without hints: it obeys marks, but learns little from them about what "
    "lies around them, and ignores rough strokes. A model trained with refiner.hints=true does."
)


def remark_on_contradictions(placed: SliceMarks, drawn: Drawn) -> list[str]:
    """Say that the latest marks contradict earlier ones."""
    first = len(placed.marks) - placed.latest
    against = {
        early
        for early, late in drawn.overruled
        if late >= first > early and not placed.is_carried[early]
    }
    if not against:
        return []
    return [
        f"this mark contradicts {len(against)} earlier one{'s' if len(against) > 1 else ''}: where "
        "they overlap, the later one counts."
    ]


def remark_on_locks(
    placed: SliceMarks, drawn: Drawn, locks: Locks, size: tuple[int, int]
) -> list[str]:
    """Warn that the latest marks lie on locked pixels, where they change nothing."""
    area = locks.area(placed.number, size)
    if not area.any():
        return []
    latest = drawn.author.numpy() >= len(placed.marks) - placed.latest
    number = int(np.count_nonzero(latest.any(axis=0) & area))
    return [f"{number} marked pixels are locked and stay as they are."] if number else []


def remark_on_model(predictor: Predictor, refine: bool) -> Sequence[str]:
    """Say what the model cannot make of marks."""
    if not refine:
        return [NO_REFINER]
    return [] if predictor.hybrid.refiner.reads_hints else [NO_HINTS]
