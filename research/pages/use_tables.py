"""Two small tables for docs/evidence.md: corrections by hand, and what to review first."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hidiff.labels import MEAN
from hidiff.metrics import summarise
from hidiff.report.format import format_interval, markdown

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.method.corrections import PAINT_REFINED, rows
from research.method.corrections_arms import RITM
from research.method.corrections_table import (
    AFTER,
    NAMES,
    best_cheap,
    errors,
    find,
    judged,
    ratio_of,
    words,
)
from research.pages.compare import verdict

REVIEW = Path(__file__).parents[1] / "method" / "results" / "review.json"
MARKS = (0, 1, 3, 5)

CORRECTIONS_TEXT = """## Corrections by hand

Mean Dice after so many marks at the largest errors, with a refiner that was trained with marks,
which then spread where the image is alike, as in a session. "Painted" is the same brush on the
refined mask, without a model's help. The error ratio is (1 - Dice) after 3 marks divided by that of
a rival: below 1 the refiner saves work. RITM's recipe is trained for as many FLOPs, and its better
figure is taken, with marks that spread or not: it is clearly worse on LIDC, as good on Kvasir-SEG
and ACDC, and better on DRIVE, where it is ahead before the first mark. The best cheap rival needs
no training (a threshold under the mark, blending by distance, or a random walker from marks and
refined mask).
[All methods and rivals](../research/method/results/corrections/README.md)."""

REVIEW_TEXT = """## What to review first

Skill of a score: 0 if the fifth of cases with the highest score holds no more of the error than
chance, 1 if it holds the worst cases. Doubt is 1 less the mean probability of a class inside its
own mask. The last two columns: share of a case's wrong pixels among the 5 % of pixels with the
highest entropy."""


def corrections_table() -> str:
    """Return a line for each data set and prior that corrections were measured on."""
    lines = []
    for here, row in _judged(("chosen", "longer")):
        painted = find(here, row, PAINT_REFINED)
        ritm = _of_ritm(here, row)
        cheap = best_cheap(here, row)
        ratios = [ratio_of(row, other) if other else None for other in (painted, ritm, cheap)]
        lines.append(
            (
                NAMES[row["data"]],
                row["prior"],
                row["steps"],
                row["groups"],
                row["seed"],
                *(_dice(row, number) for number in MARKS),
                _dice(painted, AFTER) if painted else "",
                *(words(ratio) if ratio else "" for ratio in ratios),
            )
        )
    head = [
        "data",
        "prior",
        "steps",
        "n",
        "seed",
        *(f"{number} mark{'' if number == 1 else 's'}" for number in MARKS),
    ]
    return markdown(
        (
            *head,
            "painted, 3",
            "error ratio [95 % CI]",
            "to RITM's recipe",
            "to the best cheap rival",
        ),
        lines,
    )


def corrections_lines() -> list[tuple[object, ...]]:
    """Return the lines of the README's table: three marks against painting, behind a weak prior."""
    lines = []
    for here, row in _judged(("chosen",)):
        painted = find(here, row, PAINT_REFINED)
        if row["prior"] != "weak" or row["seed"] or painted is None:
            continue
        summary = summarise(
            [
                {"case": case, "group": group, "class": "mask", "source": source, "dice": 1 - error}
                for source, each in (("prior", painted), ("refined", row))
                for (case, group), error in errors(each).items()
            ]
        )
        entry = summary.entry(MEAN, "dice")
        difference = format_interval("dice", entry.difference, signed=True)
        facts = ("three marks by hand", NAMES[row["data"]], summary.num_groups, 1)
        lines.append((*facts, difference, "the same brush, painted", verdict(entry)))
    return lines


def _judged(arms: Sequence[str]) -> Iterator[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Yield the rows of each data set and prior, with each row that stands for an arm."""
    found = rows()
    for data, prior in dict.fromkeys((row["data"], row["prior"]) for row in found):
        here = [row for row in found if (row["data"], row["prior"]) == (data, prior)]
        for row in judged(here, arms):
            yield here, row


def _of_ritm(here: list[dict[str, Any]], row: dict[str, Any]) -> dict[str, Any] | None:
    """Return RITM's better row after 3 marks, of the same seed; None for an arm that costs more."""
    rows_of_it = [each for each in here if (each["arm"], each["seed"]) == (RITM, row["seed"])]
    if row["arm"] != "chosen":
        return None
    return max(rows_of_it, key=lambda each: each["dice"][str(AFTER)], default=None)


def _dice(row: dict, number: int) -> str:
    value = row["dice"].get(str(number))
    return "" if value is None else f"{value:.3f}"


def review_table() -> str:
    """Return a line for each model and data set."""
    lines = [
        (
            name,
            line["groups"],
            line["cases"],
            f"{line['dice']:.3f}",
            *(_interval(line[f"skill_{score}"]) for score in ("doubt", "entropy")),
            *(f"{line[key][0]:.2f}" for key in ("wrong_listed", "wrong_listed_by_prior")),
        )
        for name, line in json.loads(REVIEW.read_text()).items()
    ]
    head = ("model, data", "n", "cases", "Dice", "skill of doubt", "skill of mean entropy")
    return markdown((*head, "wrong pixels, refined", "by the prior's entropy"), lines)


def _interval(values: list[float]) -> str:
    middle, low, high = values
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"
