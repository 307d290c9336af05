"""Samples of a shipped model beside the masks of several raters, for its card."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hidiff.datasets import Case
from hidiff.labels import MEAN
from hidiff.loading import LoadedCases
from hidiff.metrics import summarise
from hidiff.prediction import Predictor

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.method.raters import BATCH, draw_masks, judge

Facts = dict[str, Any]
PRIOR, PIXELS, REFINED = "prior", "pixels", "refined"
METHODS = {"hybrid's prior, one mask": PRIOR, "pixels of the prior": PIXELS, "hybrid": REFINED}


def measure_samples(predictor: Predictor, cases: Sequence[Case], numbers: Sequence[int]) -> Facts:
    """Return each metric of samples against raters, with its interval over patients.

    Samples take the steps of `hidiff predict`, at temperature 1, and are cut at 0.5. Beside the
    refiner's stand the prior as a single mask, and masks drawn from the prior pixel by pixel.
    """
    hybrid = predictor.hybrid
    loaded = LoadedCases(cases, predictor.reading, cache=False)
    steps = predictor.settings.steps_of(hybrid.schedule.num_steps)
    rows: dict[tuple[str, int], list[dict[str, object]]] = {}
    for first in range(0, len(loaded), BATCH):
        items = [loaded[number] for number in range(first, min(first + BATCH, len(loaded)))]
        for arm, masks in draw_masks(hybrid, None, items, numbers, steps):
            name = next(each for each in METHODS if arm.startswith(each))
            found = [judge(loaded, first + i, masks[:, i]) for i in range(len(items))]
            rows.setdefault((METHODS[name], len(masks)), []).extend(found)
    points = []
    for (method, number), found in rows.items():
        summary = summarise(found)
        metrics = {each: summary.entry(MEAN, each).refined for each in summary.metrics}
        points.append(
            {
                "method": method,
                "samples": number,
                **{name: asdict(interval) for name, interval in metrics.items() if interval},
            }
        )
    return {"steps": steps, "points": points}
