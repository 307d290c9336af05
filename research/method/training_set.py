"""Are priors too good on the images they were trained on? And is the average of weights better?

    HIDIFF_DATA=... python research/method/training_set.py runs/drive runs/lidc

A refiner learns from the segmentor's priors on the segmentor's own training images. If they were
much better there than on others, it would learn to mend mistakes that it never meets, and priors
should come from segmentors that did not see the image. So Dice, Brier score and calibration error
of the priors on both splits, the difference unpaired over patients.

Of a run that has a refiner, also its masks with the refiner's weights as they were after the last
step, less those with their average, which prediction uses (the run's state.safetensors has both).
Adds entries to research/method/results/training_set.json.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from hidiff import experiment, weights
from hidiff.labels import MEAN
from hidiff.metrics import Interval, pair_arms, summarise
from hidiff.prediction import Predictor
from hidiff.recipe import Recipe
from hidiff.training.state import STATE_FILE

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.method.room import judge, told
from research.pages.compare import unpaired_gap
from research.timing import machine, write

RESULTS = Path(__file__).parent / "results" / "training_set.json"
SPLITS = ("train", "test")
METRICS = ("dice", "brier", "ece")
LIVE = "live_refiner."


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+", help="runs")
    parser.add_argument("--names", nargs="*", help="of the entries; left out: the data sets'")
    args = parser.parse_args()
    torch.set_num_threads(1)
    recipes = [experiment.load_recipe(model) for model in args.models]
    names = args.names or [recipe.data.source for recipe in recipes]
    for model, recipe, name in zip(args.models, recipes, names, strict=True):
        predictor = experiment.load_predictor(model)
        found: dict[str, Any] = {"priors": own_images(predictor, recipe)}
        if predictor.refines:
            found["average"] = without_average(predictor, model, recipe)
        print(name, found, flush=True)
        entries = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        entries[name] = {**entries.get(name, {}), **found} | machine()
        write(entries, __file__, RESULTS.stem)


def own_images(predictor: Predictor, recipe: Recipe) -> dict[str, Any]:
    """The prior on both splits, and by how much the test's is worse."""
    rows = {
        split: judge(predictor, experiment.list_cases(recipe, split), refine=False)
        for split in SPLITS
    }
    summaries = {split: summarise(each) for split, each in rows.items()}
    found: dict[str, Any] = {
        "patients": {split: each.num_groups for split, each in summaries.items()}
    }
    for metric in METRICS:
        if metric not in rows["test"][0]:
            continue  # volumes are judged by their labels alone
        train, test = (by_case(rows[split], metric) for split in SPLITS)
        gap = unpaired_gap(train, test)
        found[metric] = {
            split: rounded(each.entry(MEAN, metric).prior)[0] for split, each in summaries.items()
        } | dict(zip(("difference", "interval"), rounded(gap), strict=True))
    return found


def without_average(predictor: Predictor, model: Path, recipe: Recipe) -> dict[str, Any]:
    """Masks of the last step's weights less those of the average."""
    cases = experiment.list_cases(recipe, "test")
    averaged = judge(predictor, cases, refine=True)
    state, _ = weights.load(model / STATE_FILE)
    live = {name.removeprefix(LIVE): x for name, x in state.items() if name.startswith(LIVE)}
    predictor.hybrid.refiner.load_state_dict(live)
    last = judge(predictor, cases, refine=True)
    summary = summarise(pair_arms([averaged], [last]))
    return told(summary.entry(MEAN, "dice")) | {"patients": summary.num_groups}


def by_case(rows: Any, metric: str) -> dict[tuple[str, str], float]:
    """(case, group) -> the mean over classes."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        found.setdefault((row["case"], str(row["group"])), []).append(row[metric])
    return {place: sum(each) / len(each) for place, each in found.items()}


def rounded(interval: Interval | None) -> tuple[float, list[float] | None]:
    """Mean and ends."""
    assert interval
    ends = None if interval.low is None else [round(interval.low, 4), round(interval.high or 0, 4)]
    return round(interval.mean, 4), ends


if __name__ == "__main__":
    main()
