"""Make docs/why_figures.md from the results of room.py, training_set.py and each_step.py.

python research/pages/why_page.py
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hidiff.report.format import markdown

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.pages.reading import DOCS, ROOT, write_text

Lines = Iterator[tuple[object, ...]]

RESULTS = ROOT / "research" / "method" / "results"
SHOWN_STEPS = (10, 8, 5, 1)  # of T = 10; each_step.json has all

TITLE = """# What there was to refine

`make docs` makes this page from [research/method/results](../research/method/results); change no
number by hand. Differences are in Dice, with a 95 % interval over patients.
[benchmarks.md](benchmarks.md) has the consequences."""

ROOM = """## What any second network brings

Two second networks without diffusion or bits stand behind the stage-1 segmentor of the suites
(`research/method/room.py`). An ensemble is the mean probability of several seeds. A cascade is a
real-valued U-Net of width 16, trained on image and prior behind the frozen segmentor. If neither
gains, expect little from a refiner."""

PRIORS = """## Are priors better on the images they were trained on?

A refiner learns from the segmentor's priors on the segmentor's own training images
(`research/method/training_set.py`). Only on the heart (ACDC) are they much better there."""

AVERAGE = """## Is the average of weights better?

Predictions use the average of the refiner's weights over the training steps. The table compares it
with the weights after the last step (`research/method/training_set.py`)."""

STEPS = """## What the refiner knows at each t

yt is drawn from the ground truth, as in training. *Exact* is the best answer to yt if the prior is
calibrated and pixels are independent. *Refiner* is the refiner's y0_hat
(`research/method/each_step.py`). Cross-entropy is in nats per pixel. For t < 10, yt shows a part of
the mask, and the refiner is better than the exact answer. At t = 10, where every prediction begins,
it adds little to a good prior."""


def main() -> None:
    room, own, steps = (
        json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("room", "training_set", "each_step")
    )
    gain = "difference [95 % CI]"
    tables = (
        (("data", "second network", "before", "after", gain, "p", "n"), room_lines(room)),
        (("data", "training", "test", gain, "n, training", "n, test"), prior_lines(own)),
        (("data", "average", "last step", gain, "p", "n"), average_lines(own)),
        (
            ("data", "t", *(f"{what}, {who}" for what in ("cross-entropy", "Dice")
                            for who in ("exact", "refiner"))),
            step_lines(steps),
        ),
    )  # fmt: skip
    texts = (markdown(head, list(lines)) for head, lines in tables)
    parts = [
        part for pair in zip((ROOM, PRIORS, AVERAGE, STEPS), texts, strict=True) for part in pair
    ]
    write_text(DOCS / "why_figures.md", TITLE, *parts)


def room_lines(room: Mapping[str, Any]) -> Lines:
    for name, entry in room.items():
        kinds = {
            "ensemble": lambda each: f"ensemble of {each['of']}",
            "cascade": lambda each: f"cascade, {each['steps']} steps",
        }
        for kind, title in kinds.items():
            if each := entry.get(kind):
                yield name, title(each), *paired(each), entry["patients"]


def prior_lines(own: Mapping[str, Any]) -> Lines:
    for name, entry in own.items():
        dice, patients = entry["priors"]["dice"], entry["priors"]["patients"]
        means = (f"{dice[split]:.4f}" for split in ("train", "test"))
        yield name, *means, difference(dice), *patients.values()


def average_lines(own: Mapping[str, Any]) -> Lines:
    for name, entry in own.items():
        if each := entry.get("average"):
            yield name, *paired(each), each["patients"]


def paired(each: Mapping[str, Any]) -> tuple[object, ...]:
    """Return Dice before and after, their difference and its p."""
    before, after = (f"{each[key]:.4f}" for key in ("before", "after"))
    return before, after, difference(each), each["p"]


def difference(each: Mapping[str, Any]) -> str:
    low, high = each["interval"]
    return f"{each['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"


def step_lines(steps: Mapping[str, Any]) -> Lines:
    for name, entry in steps.items():
        for step in entry["steps"]:
            if step["t"] in SHOWN_STEPS:
                numbers = (
                    step[who][what] for what in ("nats", "dice") for who in ("bayes", "y0_hat")
                )
                yield name, step["t"], *(f"{number:.4f}" for number in numbers)


if __name__ == "__main__":
    main()
