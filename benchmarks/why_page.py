"""Makes docs/why_figures.md of what room.py and each_step.py measured.

    python benchmarks/why_page.py

No number on the page is typed by hand.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hidiff.metrics.format import markdown

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "why_figures.md"


def main() -> None:
    room, steps = (
        json.loads((HERE / "results" / f"{name}.json").read_text())
        for name in ("room", "each_step")
    )
    parts = [
        "# What there was to refine",
        "`python benchmarks/why_page.py` makes this page from "
        "[benchmarks/results](../benchmarks/results); [benchmarks.md](benchmarks.md) says what "
        "follows from it.",
        "## What any second network brings",
        "Behind the same stage 1 as in the suites. An ensemble: the mean probability of stage 1 of "
        "several seeds, less the mean of the single ones. A cascade: a real-valued U-Net of width "
        "16, trained on image and prior, the segmentor frozen, for as many steps as the hybrid has "
        "iterations; no diffusion, no bits (`benchmarks/room.py`).",
        markdown(
            ("data", "second", "before", "after", "difference in Dice [95 % CI]", "p", "n"),
            list(room_lines(room)),
        ),
        "## What the refiner knows at each t",
        "yt is drawn from the truth as in training. *Exact*: the answer to the same yt for a "
        "calibrated prior and pixels that know nothing of each other. *Refiner*: y0_hat. "
        "Cross-entropy in nats a pixel, ECE the calibration's error, Dice at a cut of 0.5 "
        "(`benchmarks/each_step.py`).",
    ]
    for name, entry in steps.items():
        parts += [f"### {name}", temperature(entry), step_table(entry)]
    PAGE.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")


def room_lines(room: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    for name, entry in room.items():
        kinds = {
            "ensemble": lambda each: f"ensemble of {each['of']}",
            "cascade": lambda each: f"cascade, {each['steps']} steps",
        }
        for kind, title in kinds.items():
            if each := entry.get(kind):
                low, high = each["interval"]
                gap = f"{each['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"
                before, after = (f"{each[key]:.4f}" for key in ("before", "after"))
                yield name, title(each), before, after, gap, each["p"], entry["patients"]


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
