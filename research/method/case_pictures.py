"""Draw where two arms of a suite differ: the best, median and worst patient of one less the other.

    HIDIFF_DATA=... python research/method/case_pictures.py abdomen_brain "Synapse, FPN" frozen \\
        segmentor_only --runs runs/benchmark --output pictures

The models are those of the rows, with seed 0; what is not in the folder of runs is trained again.
With `prior` in place of a rival, the arm is compared with its own prior. Each picture shows the
patient's slice where the two masks differ most.
Many data sets forbid showing their images, so the pictures are for whoever has the data.
"""

import argparse
import sys
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import torch

from hidiff import experiment
from hidiff.cli.recipes import find_recipe
from hidiff.datasets import Case
from hidiff.evaluation import read_truth
from hidiff.evaluation.evaluate import predict_case
from hidiff.images import read_image
from hidiff.prediction import Predictor
from hidiff.prediction.writers.overlay import CONTOURS, outline
from hidiff.recipe import Recipe
from hidiff.report.illustrated import visible
from hidiff.report.pictures import (
    figure_png,
    grid_figure,
    paint_change,
    paint_difference,
    paint_labels,
    write_png,
)
from hidiff.suites import Results, Run, list_runs, read_results, read_suite
from hidiff.suites.benchmark import identify_row, train_run
from hidiff.suites.rates import choose_rate, list_candidates
from hidiff.suites.runs import judged_recipe
from hidiff.suites.suite import PLAIN, STAGE1

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.pages.compare import gains, group_means
from research.pages.organs_page import find_cases
from research.pages.reading import ROOT, read_suites

OWN_PRIOR = "prior"
CPU = torch.device("cpu")


def main() -> None:
    suites = read_suites()
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("suite", choices=suites)
    parser.add_argument("data", help="data set of the suite")
    parser.add_argument("arm")
    parser.add_argument("rival", help=f"another arm, or {OWN_PRIOR}")
    parser.add_argument("--evaluation", default=PLAIN)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark"))
    parser.add_argument("--output", type=Path, default=Path("pictures"))
    args = parser.parse_args()
    torch.set_num_threads(1)

    results = suites[args.suite]
    rival = None if args.rival == OWN_PRIOR else args.rival
    scores = gains(find_cases(results, args.arm, rival, args.data, args.evaluation), "dice")
    if not scores:
        parser.error(f"there are no rows of {args.arm} and {args.rival} on {args.data}")
    patients = group_means(scores)
    ranked = sorted(patients, key=lambda name: patients[name])
    chosen = {"worst": ranked[0], "median": ranked[len(ranked) // 2], "best": ranked[-1]}

    file = ROOT / "research" / "suites" / f"{args.suite}.yaml"
    runs = {
        run.arm: run
        for run in list_runs(read_suite(file), file, find_recipe)
        if (run.data, run.seed) == (args.data, 0)
    }
    rows = read_results(ROOT / "research" / "rows" / args.suite)
    run = runs[args.arm]
    recipe = judged_recipe(run, run.evaluations[args.evaluation])
    ours = load(run, recipe, rows, args.runs)
    theirs = None if rival is None else load(runs[rival], recipe, rows, args.runs)
    cases = experiment.list_cases(recipe, "test")
    args.output.mkdir(parents=True, exist_ok=True)
    for role, patient in chosen.items():
        gain = f"{args.arm} less {args.rival} {patients[patient]:+.3f} Dice"
        looks = [look(case, ours, theirs) for case in cases if case.group == patient]
        picture = draw(max(looks, key=lambda each: each.changed), ours, gain)
        words = (args.data, args.arm, "less", args.rival, role)
        path = args.output / f"{'_'.join(words).replace(',', '').replace(' ', '_')}.png"
        write_png(picture, path)
        print(f"{role}: {patient}, {gain}: {path}")


def load(run: Run, recipe: Recipe, results: Results, folder: Path) -> Predictor:
    """Return the predictor of a run at its chosen rate; it predicts as `recipe` says."""
    rows = [
        results.find(identify_row(each, name, evaluation))
        for each in list_candidates(run)
        for name, evaluation in each.evaluations.items()
    ]
    best = choose_rate(run, [row for row in rows if row is not None])
    place = train_run(best, folder, CPU)[-1]
    model = experiment.open_model(place / f"{STAGE1 if run.arm == STAGE1 else 'last'}.safetensors")
    hybrid = experiment.load_hybrid(model)
    return experiment.make_predictor(hybrid, recipe, CPU, model.refines)


@dataclass(frozen=True)
class Look:
    """One slice, and what rival and arm make of it; maps have the axes (... h w)."""

    title: str
    image: np.ndarray
    was: np.ndarray
    now: np.ndarray
    truth: np.ndarray
    inside: np.ndarray
    changed: int
    """pixels that are right in one mask alone"""


def look(case: Case, ours: Predictor, theirs: Predictor | None) -> Look:
    """Return the slice of a case where most pixels are right in one mask alone."""
    after = predict_case(ours, case)
    before = after if theirs is None else predict_case(theirs, case)
    was = before.spatial("prior_labels" if theirs is None or not theirs.refines else "labels")
    now = after.spatial("labels" if ours.refines else "prior_labels")
    truth = read_truth(case, ours)
    image = read_image(case.image, ours.channels, ours.slicing.plane, ours.slicing.nan)
    maps = [image.geometry.from_spatial(each) for each in (was, now, truth.labels, truth.inside)]
    changed = (maps[0] != maps[2]) != (maps[1] != maps[2])
    counts = changed.sum(axis=(-1, -2)).reshape(-1, changed.shape[-3]).sum(axis=0)
    number = int(counts.argmax())
    shown = (each[..., number, :, :] for each in maps)
    title = image.geometry.slice_title(case.name, number)
    return Look(title, image.slice(number), *shown, int(counts.max()))


def draw(look: Look, predictor: Predictor, gain: str) -> bytes:
    """Return a slice as PNG: masks above, their mistakes below."""
    several = predictor.labels.kind != "one_class"
    shown = visible(look.image, predictor.intensity)
    outlined = shown.copy()
    for mask, colour in zip(
        predictor.labels.class_masks(look.truth).values(), cycle(CONTOURS), strict=False
    ):
        outlined[outline(mask)] = colour
    above = {
        "image": shown,
        "truth": paint_labels(look.truth, several),
        "rival": paint_labels(look.was, several),
        "arm": paint_labels(look.now, several),
    }
    below = {
        "the truth's outlines": outlined,
        "mended and broken": paint_change(look.was, look.now, look.truth, look.inside),
        "the rival's mistakes": paint_difference(look.was, look.truth, look.inside),
        "the arm's mistakes": paint_difference(look.now, look.truth, look.inside),
    }
    figure = grid_figure([list(above.items()), list(below.items())])
    figure.suptitle(f"{look.title}; {gain}")
    return figure_png(figure)


if __name__ == "__main__":
    main()
