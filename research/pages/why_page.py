"""Makes docs/why_figures.md of what room.py, training_set.py and each_step.py measured.

    python research/pages/why_page.py

No number on the page is typed by hand.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hidiff.report.format import markdown

Lines = Iterator[tuple[object, ...]]

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "why_figures.md"


def main() -> None:
    room, own, steps = (
        json.loads((HERE / "results" / f"{name}.json").read_text())
        for name in ("room", "training_set", "each_step")
    )
    parts = [
        "# What there was to refine",
        "`python research/pages/why_page.py` makes this page from "
        "[benchmarks/results](../benchmarks/results); [benchmarks.md](benchmarks.md) says what "
        "follows from it.",
        "## What any second network brings",
        "Behind the same stage 1 as in the suites. An ensemble: the mean probability of stage 1 of "
        "several seeds, less the mean of the single ones. A cascade: a real-valued U-Net of width "
        "16, trained on image and prior, the segmentor frozen, for as many steps as the hybrid has "
        "iterations; no diffusion, no bits (`research/method/room.py`).",
        markdown(
            ("data", "second", "before", "after", "difference in Dice [95 % CI]", "p", "n"),
            list(room_lines(room)),
        ),
        "## Are priors better on the images they were trained on?",
        "A refiner learns from the segmentor's priors on the segmentor's own training images. "
        "Their means there and on the test images, and the difference with an interval over "
        "patients drawn anew in each split (`research/method/training_set.py`).",
        markdown(
            (
                "data",
                "metric",
                "training",
                "test",
                "difference [95 % CI]",
                "training, n",
                "test, n",
            ),
            list(prior_lines(own)),
        ),
        "## Is the average of weights better?",
        "The refiner with its weights as they were after the last step, against their average over "
        "the steps, with which all else here predicts (`research/method/training_set.py`).",
        markdown(
            ("data", "average", "last step", "difference in Dice [95 % CI]", "p", "n"),
            list(average_lines(own)),
        ),
        "## What the refiner knows at each t",
        "yt is drawn from the truth as in training. *Exact*: the answer to the same yt for a "
        "calibrated prior and pixels that know nothing of each other. *Refiner*: y0_hat. "
        "Cross-entropy in nats a pixel, ECE the calibration's error, Dice at a cut of 0.5 "
        "(`research/method/each_step.py`).",
    ]
    for name, entry in steps.items():
        parts += [f"### {name}", temperature(entry), step_table(entry)]
    PAGE.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")


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
    titles = {"dice": "Dice", "brier": "Brier score", "ece": "ECE"}
    for name, entry in own.items():
        priors = entry["priors"]
        for metric in (metric for metric in titles if metric in priors):
            each = priors[metric]
            means = (f"{each[split]:.4f}" for split in ("train", "test"))
            yield name, titles[metric], *means, difference(each), *priors["patients"].values()


def average_lines(own: Mapping[str, Any]) -> Lines:
    for name, entry in own.items():
        if each := entry.get("average"):
            yield name, *paired(each), each["patients"]


def paired(each: Mapping[str, Any]) -> tuple[object, ...]:
    """Dice before and after, their difference and its p."""
    before, after = (f"{each[key]:.4f}" for key in ("before", "after"))
    return before, after, difference(each), each["p"]


def difference(each: Mapping[str, Any]) -> str:
    low, high = each["interval"]
    return f"{each['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"


def temperature(entry: Mapping[str, Any]) -> str:
    """How sure the prior was."""
    best = min(entry["temperatures"], key=entry["temperatures"].__getitem__)
    return (
        f"{entry['cases']} images, {entry['split']}. The prior's cross-entropy is "
        f"{entry['prior']['nats']:.4f}, its ECE {entry['prior']['ece']:.4f}; with logits divided "
        f"by {best}, the best of those tried, {entry['temperatures'][best]:.4f}."
    )


def step_table(entry: Mapping[str, Any]) -> str:
    lines = [
        (
            each["t"],
            *(
                f"{each[who][what]:.4f}"
                for what in ("nats", "ece", "dice")
                for who in ("bayes", "y0_hat")
            ),
        )
        for each in entry["steps"]
    ]
    names = ("cross-entropy", "ECE", "Dice")
    head = ("t", *(f"{name}, {who}" for name in names for who in ("exact", "refiner")))
    return markdown(head, lines)


if __name__ == "__main__":
    main()
