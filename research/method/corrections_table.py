"""Table of all rows of research/method/corrections.py, with verdicts.

    python research/method/corrections_table.py

Reads results/corrections/rows.jsonl and the scores of single images beside it, and writes
results/corrections/README.md. The error ratio is (1 - Dice) after 3 marks divided by that of a
rival, over the same images; its interval is a paired bootstrap over patients.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.method.corrections import (
    OURS,
    PAINT_REFINED,
    RESULTS,
    RITM_SPREAD,
    SAME_MARKS,
    SHOWN,
    SPREAD,
    WHOLE,
    WRONG,
    WRONG_SPREAD,
    rows,
)
from research.method.corrections_arms import ARMS, RITM

NUM_RESAMPLES = 2000
ARMS_OWN = (OURS, SPREAD, RITM, RITM_SPREAD)
CHEAP = ("threshold", "blend", "random walker")
AFTER = 3  # marks of the error ratio
TARGETS = {"kvasir": 0.75, "lidc": 0.75, "acdc": 0.85, "drive": 0.85}
LEAST_DICE = {"kvasir": {1: 0.89, 3: 0.925, 5: 0.945}}  # behind the weak prior
NAMES = {
    "kvasir": "Kvasir-SEG",
    "lidc": "LIDC",
    "acdc": "ACDC",
    "drive": "DRIVE",
    "synapse": "Synapse",
    "lgg": "LGG_FLAIR",
}
MOST_HARM = 0.05  # share of marks
HEAD = """# Corrections by hand

Made by [corrections_table.py](../../corrections_table.py) from `rows.jsonl`; what was measured and
how is in [corrections.py](../../corrections.py), the arms in
[corrections_arms.py](../../corrections_arms.py), their rivals in
[corrections_rivals.py](../../corrections_rivals.py). Mean Dice after so many marks; marks to an
IoU; share of marks that lower Dice by 0.005 ("harm"); error ratio after {after} marks against
painting on the refined mask (each with its own marks), with its 95 % interval.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.parse_args()
    found = rows()
    text = HEAD.format(after=AFTER)
    for data, prior in dict.fromkeys((row["data"], row["prior"]) for row in found):
        here = [row for row in found if (row["data"], row["prior"]) == (data, prior)]
        behind = {"weak": "weak prior", "today": "today's prior"}[prior]
        text += f"\n## {NAMES[data]}, {behind} ({here[0]['images']} images)\n\n"
        text += table(here) + "\n" + "".join(f"- {line}\n" for line in verdicts(data, prior, here))
    (RESULTS / "README.md").write_text(text, encoding="utf-8")
    print(text)


def table(here: Sequence[dict[str, Any]]) -> str:
    """Return a line for each method: the arms first, then what they are compared with."""
    shown = [n for n in SHOWN if str(n) in here[0]["dice"]]
    head = ["method", "steps", *map(str, shown), "IoU 0.85", "IoU 0.90", "harm", "error ratio"]
    lines = [head, ["---"] * len(head)]
    for row in sorted(here, key=lambda row: row["method"] not in ARMS_OWN):
        own = row["method"] in (OURS, SPREAD)
        if row["method"] in (WRONG, WRONG_SPREAD) or not (own or row["arm"] in ("chosen", RITM)):
            continue
        name = row["method"].replace(OURS, row["arm"]) if own else row["method"]
        seed = f", seed {row['seed']}" if row["seed"] else ""
        says = f": {ARMS[name].says}" if name in ARMS and row["method"] == OURS else ""
        ratio = ratio_of(row, find(here, row, PAINT_REFINED))
        lines.append(
            [
                f"{name}{seed}{says}",
                str(row["steps"]) if row["method"] in ARMS_OWN else "",
                *(f"{row['dice'][str(n)]:.3f}" if str(n) in row["dice"] else "" for n in shown),
                *marks_to(row),
                f"{100 * row['marks_that_harm']:.1f} %",
                words(ratio) if ratio else "",
            ]
        )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def marks_to(row: dict[str, Any]) -> list[str]:
    """Return the marks to each IoU; nothing for a method that was stopped early."""
    whole = str(max(SHOWN)) in row["dice"]
    return [f"{each:.1f}" if whole else "" for each in row["marks_to"].values()]


def verdicts(data: str, prior: str, here: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each target: met or missed, with the numbers."""
    lines = []
    ours = judged(here, ("chosen",))
    for row in ours:
        seed = f" (seed {row['seed']})" if len(ours) > 1 else ""
        ratio = ratio_of(row, find(here, row, PAINT_REFINED))
        if ratio and prior == "weak":
            met = ratio[0] <= TARGETS[data] and ratio[2] < 1
            lines.append(f"{said(met)}: error ratio at most {TARGETS[data]}, {words(ratio)}{seed}")
        same = ratio_of(row, find(here, row, SAME_MARKS)) if row["method"] == OURS else None
        if same:
            lines.append(f"against the very same marks painted: {words(same)}{seed}")
        for number, least in LEAST_DICE.get(data, {}).items() if prior == "weak" else ():
            dice = row["dice"][str(number)]
            lines.append(f"{said(dice >= least)}: Dice {least} after {number}, {dice:.3f}{seed}")
        harm = row["marks_that_harm"]
        lines.append(f"{said(harm < MOST_HARM)}: under 5 % of marks harm, {100 * harm:.1f} %{seed}")
        for ritm in here:
            against = ratio_of(row, ritm) if ritm["arm"] == RITM else None
            if against and ritm["seed"] == row["seed"]:
                name = ritm["method"].replace(RITM, "RITM's recipe")
                lines.append(f"{said(against[2] < 1)}: better than {name}, {words(against)}{seed}")
        best = best_cheap(here, row)
        if best:
            against = ratio_of(row, best)
            assert against
            met = against[2] < 1
            name = f"the best cheap rival, {best['method']}"
            lines.append(f"{said(met)}: better than {name}, {words(against)}{seed}")
        whole = find(here, row, WHOLE)
        bound = ratio_of(whole, find(here, row, PAINT_REFINED)) if whole else None
        if bound:
            lines.append(f"a bound, the whole vessel of each stroke painted: {words(bound)}{seed}")
        wrong = find(here, row, WRONG_SPREAD if row["method"] == SPREAD else WRONG)
        if wrong:
            share = wrong["collateral_median_of_area"]
            lines.append(
                f"{said(share <= 1)}: a mark in a wrong place turns at most its own area wrong "
                f"beside it, median {share:.2f} of it{seed}"
            )
    return lines


def judged(here: Sequence[dict[str, Any]], arms: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows that stand for the arms: with spread marks, as in a session, if there are."""
    ours = [row for row in here if row["arm"] in arms and row["method"] in (OURS, SPREAD)]
    return [row for row in ours if row["method"] == SPREAD or not find(here, row, SPREAD)]


def best_cheap(here: Sequence[dict[str, Any]], row: dict[str, Any]) -> dict[str, Any] | None:
    """Return the row of the best rival that needs no training; None if none was measured.

    Rivals start from a refined mask, so they count for the refiner that made it alone.
    """
    cheap = [
        each
        for each in here
        if each["method"].startswith(CHEAP)
        and (each["arm"], each["seed"]) == (row["arm"], row["seed"])
        and str(AFTER) in each["dice"]
    ]
    return max(cheap, key=lambda each: each["dice"][str(AFTER)], default=None)


def said(met: bool) -> str:
    """Return a verdict in a word."""
    return "met" if met else "missed"


def words(ratio: tuple[float, float, float]) -> str:
    """Return a ratio with its interval."""
    return f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})"


def find(here: Sequence[dict[str, Any]], row: dict[str, Any], method: str) -> dict[str, Any] | None:
    """Return the row of another method of the same arm and seed."""
    key = (row["arm"] if row["arm"] != RITM else "chosen", row["seed"], method)
    return next((r for r in here if (r["arm"], r["seed"], r["method"]) == key), None)


def ratio_of(
    row: dict[str, Any], other: dict[str, Any] | None
) -> tuple[float, float, float] | None:
    """Return (1 - Dice) of a row by that of another, and the interval; None for no other."""
    if other is None or other is row or any(str(AFTER) not in r["dice"] for r in (row, other)):
        return None
    ours, theirs = errors(row), errors(other)
    groups = sorted({group for _, group in ours})
    sums = np.array(
        [
            [sum(e for (_, g), e in each.items() if g == group) for each in (ours, theirs)]
            for group in groups
        ]
    )
    draws = np.random.default_rng(0).integers(len(groups), size=(NUM_RESAMPLES, len(groups)))
    means = sums[draws].sum(axis=1)
    low, high = np.percentile(means[:, 0] / means[:, 1], [2.5, 97.5])
    return float(sums[:, 0].sum() / sums[:, 1].sum()), float(low), float(high)


def errors(row: dict[str, Any]) -> dict[tuple[str, str], float]:
    """Return 1 - Dice after 3 marks of each (image, patient)."""
    with open(RESULTS / row["file"], newline="", encoding="utf-8") as file:
        return {
            (line["case"], line["group"]): 1 - float(line[f"dice{AFTER}"])
            for line in csv.DictReader(file)
        }


if __name__ == "__main__":
    main()
