"""Measure what marks add to a shipped model, for its card; also by size of the objects.

A mark corrects the largest error: a click as wide as fits, or a stroke along the centre line of
the largest missed vessel. Beside the refiner stands the same person who paints on the refined mask.
Everything happens at the size that the networks see (see evaluation.corrections).
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hidiff.datasets import Case
from hidiff.evaluation.corrections import (
    Answer,
    Bits,
    Painting,
    Person,
    Refining,
    answer_of,
    clicker,
    correct,
    overlap,
)
from hidiff.loading import LoadedCases
from hidiff.metrics import Interval, local_width
from hidiff.metrics.table import bootstrap
from hidiff.prediction import Predictor

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.method.corrections import HARM, stroke_along

AFTER = (3, 10)  # marks
COLUMNS = ("prior", "refined", *(f"{who} {n}" for n in AFTER for who in ("painted", "marked")))
BANDS = ("small", "medium", "large")
Facts = dict[str, Any]


@dataclass(frozen=True)
class Corrected:
    """The masks of one image: as predicted, and after so many marks."""

    group: str
    masks: dict[str, Bits]
    y0: Bits
    inside: np.ndarray
    harmful: list[bool]
    """for each mark of the refiner: True if it lowered Dice by more than HARM"""

    def dice(self, column: str) -> float:
        return overlap(self.masks[column][0], self.y0[0], self.inside)[0]


def measure_marks(predictor: Predictor, cases: Sequence[Case], mark: str, size: str) -> Facts:
    """Return Dice with and without marks, and by size, of the images that show anything.

    `mark` is clicks or strokes; `size` is object (an image's foreground, in pixels) or calibre (the
    width of a vessel at each of its pixels, of which the share that is found is counted).
    """
    persons = {"clicks": clicker(predictor.labels), "strokes": stroke_along}
    found = [each for case in cases for each in _correct_case(predictor, case, persons[mark])]
    groups = [each.group for each in found]
    dice = np.array([[each.dice(column) for column in COLUMNS] for each in found])
    gains = [f"{who} {n}" for n in AFTER for who in ("marked", "painted")]
    more = dice[:, [COLUMNS.index(name) for name in gains[::2]]]
    less = dice[:, [COLUMNS.index(name) for name in gains[1::2]]]
    return {
        "mark": mark,
        "images": len(found),
        "groups": len(set(groups)),
        "dice": dict(zip(COLUMNS, intervals(dice, groups), strict=True)),
        "difference": dict(
            zip([str(n) for n in AFTER], intervals(more - less, groups), strict=True)
        ),
        "harmful": float(np.mean([harm for each in found for harm in each.harmful] or [0.0])),
        "size": size,
        "bands": SIZES[size](found),
    }


def intervals(values: np.ndarray, groups: Sequence[str]) -> list[Facts]:
    """Return the mean over groups of each column (image, column), with its 95 % interval."""
    names = np.array(groups)
    by_group = np.stack([values[names == name].mean(axis=0) for name in dict.fromkeys(groups)])
    lows, highs = bootstrap(by_group, 0, 2000)
    return [
        asdict(Interval(float(mean), float(low), float(high), len(by_group)))
        for mean, low, high in zip(by_group.mean(axis=0), lows, highs, strict=True)
    ]


def _correct_case(predictor: Predictor, case: Case, person: Person) -> list[Corrected]:
    """Return the corrected masks of each slice of a case that shows anything."""
    loaded, made = LoadedCases([case], predictor.reading, cache=False), []
    for number in range(len(loaded)):
        item = loaded[number]
        y0, inside = item["y0"].numpy() > 0, item["field_of_view"][0].numpy() > 0
        if not (y0 & inside).any():
            continue
        refining = answer_of(predictor, item)
        assert isinstance(refining, Refining)
        masks = {"prior": predictor.labels.bits(refining.prior), "refined": refining([])}
        painting = Painting(masks["refined"], predictor.labels)
        harmful: list[bool] = []
        for who, answer in {"painted": painting, "marked": refining}.items():
            bits, dice = _course(answer, y0, inside, person)
            masks |= {f"{who} {n}": bits[min(n, len(bits) - 1)] for n in AFTER}
            harmful = (np.diff(dice) < -HARM).tolist()
        made.append(Corrected(case.group, masks, y0, inside, harmful))
        print(f"{case.name}: {[round(made[-1].dice(column), 3) for column in COLUMNS]}", flush=True)
    return made


def _course(
    answer: Answer, y0: Bits, inside: np.ndarray, person: Person
) -> tuple[list[Bits], list[float]]:
    """Return the mask without a mark and after each, and their Dice."""
    bits = [step.bits for step in correct(answer, y0, inside, max(AFTER), person)]
    return bits, [overlap(each[0], y0[0], inside)[0] for each in bits]


def _by_object(found: Sequence[Corrected]) -> list[Facts]:
    """Return Dice of the third of images with the smallest foreground, and of the others."""
    sizes = np.array([int((each.y0[0] & each.inside).sum()) for each in found])
    edges = np.quantile(sizes, [1 / 3, 2 / 3])
    which = np.searchsorted(edges, sizes)
    bands = []
    for number in range(len(BANDS)):
        members = [each for each, its in zip(found, which.tolist(), strict=True) if its == number]
        dice = np.array([[each.dice(column) for column in COLUMNS] for each in members])
        own = sizes[which == number]
        bands.append(_band(number, own.min(), own.max(), dice, [each.group for each in members]))
    return bands


def _by_calibre(found: Sequence[Corrected]) -> list[Facts]:
    """Return the share of vessel pixels that are found, of three widths with as many pixels."""
    widths = [np.where(each.inside, local_width(each.y0[0]), 0) for each in found]
    values = np.sort(np.concatenate([each[each > 0] for each in widths]))
    edges = values[[len(values) // 3, 2 * len(values) // 3]]
    ends = [values[0], *edges, values[-1]]
    bands = []
    for number in range(len(BANDS)):
        low, high = ends[number], ends[number + 1]
        pixels = [
            (each > low if number else each > 0) & (each <= high) & (each > 0) for each in widths
        ]
        shares = np.array(
            [
                [each.masks[column][0][mask].mean() if mask.any() else np.nan for column in COLUMNS]
                for each, mask in zip(found, pixels, strict=True)
            ]
        )
        kept = ~np.isnan(shares).any(axis=1)
        groups = [each.group for each, keep in zip(found, kept.tolist(), strict=True) if keep]
        bands.append(_band(number, low, high, shares[kept], groups))
    return bands


def _band(number: int, low: float, high: float, values: np.ndarray, groups: Sequence[str]) -> Facts:
    return {
        "name": BANDS[number],
        "from": float(low),
        "to": float(high),
        "images": len(values),
        **dict(zip(COLUMNS, intervals(values, groups), strict=True)),
    }


SIZES: dict[str, Callable[[Sequence[Corrected]], list[Facts]]] = {
    "object": _by_object,
    "calibre": _by_calibre,
}
