"""Does the doubt in a mask find the masks with errors, and its pixels the wrong pixels?

    HIDIFF_DATA=... python research/method/review.py "nodules, LIDC" nodules RECIPE

The skill of a score is (share of error that the fifth of cases with the highest score holds - 0.2)
divided by (share of the worst fifth - 0.2): 0 is chance, 1 finds the worst cases. The error of a
case is 1 - Dice. Beside the doubt stands the mean entropy of all pixels. Within a case: the share
of wrong pixels among the 5 % of pixels of the highest entropy, of the refined probability and of
the prior. Intervals are those of 2,000 bootstrap draws of patients. A line of
research/method/results/review.json is replaced for each name.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from hidiff import experiment
from hidiff.evaluation import judge, read_truth
from hidiff.evaluation.evaluate import Truth, predict_case
from hidiff.metrics import flag_for_review
from hidiff.prediction import Prediction, Predictor
from hidiff.prediction.prediction import entropy_bits
from hidiff.recipe import read_recipe
from hidiff.weights import atomic_write

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine

RESULTS = Path(__file__).parent / "results" / "review.json"
DRAWS, PIXELS = 2000, 0.05
SCORES = ("doubt", "entropy")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("name", help="name of the line, such as 'vessels, DRIVE'")
    parser.add_argument("model", help="a model, or a run's folder")
    parser.add_argument("recipe", type=Path, help="recipe whose split is evaluated")
    parser.add_argument("--split", default="test")
    parser.add_argument(
        "--set", action="append", default=[], help="change of a setting of the recipe"
    )
    args = parser.parse_args()
    predictor = experiment.load_predictor(args.model)
    recipe = read_recipe(args.recipe, args.set)
    cases = experiment.list_cases(recipe, args.split)
    rows = []
    for case in cases:
        made, truth = (
            predict_case(predictor, case, keep_probability=True),
            read_truth(case, predictor),
        )
        judged = judge(made, truth, case, predictor, tolerance=1.0)
        dice = [row["dice"] for row in judged if row["source"] == "refined"]
        rows.append(
            {"group": case.group, "error": 1 - float(np.mean(dice))}
            | scores(made, truth, predictor)
        )
    line = summarise(rows) | {"model": Path(args.model).name, "split": args.split} | machine()
    lines = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    with atomic_write(RESULTS) as temporary:
        temporary.write_text(json.dumps(lines | {args.name: line}, indent=1) + "\n")
    print(json.dumps(line, indent=1))


def scores(made: Prediction, truth: Truth, predictor: Predictor) -> dict[str, float]:
    """Return the scores of a case, and the shares of wrong pixels among those listed first."""
    labels, entropy = made.spatial("labels"), made.spatial("uncertainty")
    prior = made.maps.get("prior")
    assert labels is not None and entropy is not None and prior is not None
    of_prior = np.stack(
        [
            entropy_bits(np.asarray(each, np.float32), predictor.labels)
            for each in np.moveaxis(prior, 1, 0)
        ]
    )
    wrong = (labels != truth.labels)[truth.inside]
    listed = {
        "wrong_listed": entropy[truth.inside],
        "wrong_listed_by_prior": of_prior.reshape(entropy.shape)[truth.inside],
    }
    first = math.ceil(PIXELS * wrong.size)
    shares = {
        key: float(wrong[np.argsort(-values, kind="stable")[:first]].sum() / max(wrong.sum(), 1))
        for key, values in listed.items()
    }
    return {"doubt": made.doubt, "entropy": float(entropy[truth.inside].mean()), **shares}


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return skills and shares with their intervals over patients."""
    groups = sorted({row["group"] for row in rows})
    by_group = {group: [row for row in rows if row["group"] == group] for group in groups}
    rng, draws = np.random.default_rng(0), []
    for _ in range(DRAWS):
        drawn = rng.choice(len(groups), len(groups))
        draws.append(numbers([row for place in drawn for row in by_group[groups[place]]]))
    point = numbers(rows)
    middle = {
        key: [float(each) for each in np.nanquantile([draw[key] for draw in draws], [0.025, 0.975])]
        for key in point
    }
    return {
        "cases": len(rows),
        "groups": len(groups),
        "dice": round(1 - float(np.mean([row["error"] for row in rows])), 4),
    } | {key: [round(value, 3) for value in (point[key], *middle[key])] for key in point}


def numbers(rows: list[dict[str, Any]]) -> dict[str, float]:
    error = {str(place): row["error"] for place, row in enumerate(rows)}
    skills = {
        f"skill_{score}": flag_for_review(
            {str(place): row[score] for place, row in enumerate(rows)}, error
        ).skill
        for score in SCORES
    }
    shares = {
        key: float(np.mean([row[key] for row in rows]))
        for key in ("wrong_listed", "wrong_listed_by_prior")
    }
    return {key: float("nan") if value is None else value for key, value in skills.items()} | shares


if __name__ == "__main__":
    main()
