"""What does `prediction.lit_view` cut off? Of photographs whose field of view is known.

    HIDIFF_DATA=... python research/method/lit_view.py vessels recipes/drive.yaml

Of the recipe's test images: shares of pixels of the known view that the one found leaves out, and
of the black that it takes in; the share of the black that the model calls a class, and its Dice
inside the known view, without `lit_view` and with it. Writes research/method/results/lit_view.json.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from hidiff import experiment
from hidiff.evaluation import judge, read_truth
from hidiff.images import find_view
from hidiff.loading import load_image
from hidiff.recipe import read_recipe

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine, write

PLACES = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("recipe", type=Path, help="whose test images have fields of view")
    args = parser.parse_args()
    predictor, recipe = experiment.load_predictor(args.model), read_recipe(args.recipe)
    cases = [
        case for case in experiment.list_cases(recipe, "test") if case.field_of_view is not None
    ]
    left_out, taken_in = [], []
    marked: dict[bool, list[float]] = {False: [], True: []}
    dice: dict[bool, list[float]] = {False: [], True: []}
    for case in cases:
        truth = read_truth(case, predictor)
        view = find_view(load_image(case.image, predictor.reading.unresized)[:, 0].numpy())
        left_out.append((truth.inside & ~view).sum() / truth.inside.sum())
        taken_in.append((view & ~truth.inside).sum() / (~truth.inside).sum())
        for lit_view in marked:
            made = predictor.predict(case.image, name=case.name, lit_view=lit_view)
            marked[lit_view].append((made.labels[~truth.inside] > 0).mean())
            rows = judge(made, truth, case, predictor, tolerance=1.0)
            dice[lit_view] += [row["dice"] for row in rows if row["source"] == "refined"]
    found: dict[str, Any] = {
        "model": str(args.model),
        "data": recipe.data.source,
        "images": len(cases),
        "view_left_out": {"mean": mean(left_out), "most": round(float(max(left_out)), PLACES)},
        "black_taken_in": {"mean": mean(taken_in), "most": round(float(max(taken_in)), PLACES)},
        "black_marked": {"without": mean(marked[False]), "with": mean(marked[True])},
        "dice": {"without": mean(dice[False]), "with": mean(dice[True])},
    }
    write(found | machine(), __file__, "lit_view")


def mean(values: list[float]) -> float:
    return round(float(np.mean(values)), PLACES)


if __name__ == "__main__":
    main()
