"""Do more steps and samples help? Dice of one model over a grid of both, at two temperatures.

    HIDIFF_DATA=... python research/method/steps_and_samples.py runs/drive --split test \
        --output research/method/results/drive

Writes curves.csv (a row a case, steps and samples), curves.json (means with 95 % intervals over
groups) and curves.png. `--cases` takes the first few only, while developing.
"""

import argparse
import csv
import json
from itertools import product
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from hidiff import experiment
from hidiff.evaluation import evaluate
from hidiff.metrics import Summary, summarise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--split", default="test")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 5, 10])
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rule", default="half")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.0, 1.0])
    parser.add_argument("--cases", type=int, default=None)
    parser.add_argument("--add", action="store_true", help="keep what --output holds already")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    recipe = experiment.load_recipe(args.model)
    predictor = experiment.load_predictor(args.model)
    cases = experiment.list_cases(recipe, args.split)[: args.cases]
    rows, points = [], []
    for temperature, samples, steps in product(args.temperatures, args.samples, args.steps):
        if temperature == 0 and samples > 1:
            continue  # all samples are alike
        setting = {"temperature": temperature, "samples": samples, "steps": steps}
        found = evaluate(predictor, cases, rule=args.rule, **setting)
        rows += [{**setting, **row} for row in found]
        points.append({**setting, "cases": len(cases), **point(summarise(found))})
        print(json.dumps(points[-1]), flush=True)
    args.output.mkdir(parents=True, exist_ok=True)
    if args.add:
        rows = read_rows(args.output) + rows
        points = json.loads((args.output / "curves.json").read_text())["points"] + points
    with open(args.output / "curves.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    facts = {"model": recipe.name, "split": args.split, "rule": args.rule}
    text = json.dumps({**facts, "seed": recipe.prediction.seed, "points": points}, indent=2)
    (args.output / "curves.json").write_text(text + "\n", encoding="utf-8")
    draw(points, f"{recipe.name}, {args.split} split", args.output)


def read_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of an earlier part."""
    with open(folder / "curves.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def point(summary: Summary) -> dict[str, float | None]:
    """The mean Dice over classes, and its interval, for one setting."""
    entry = summary.entry("mean", "dice")
    assert entry.prior and entry.refined and entry.difference
    return {
        "prior": entry.prior.mean,
        "refined": entry.refined.mean,
        "refined_low": entry.refined.low,
        "refined_high": entry.refined.high,
        "difference": entry.difference.mean,
        "difference_low": entry.difference.low,
        "difference_high": entry.difference.high,
    }


def draw(points: list[dict], title: str, folder: Path) -> None:
    """Refined minus prior against steps: a paired difference, so its interval is narrow."""
    figure, axes = plt.subplots(figsize=(6.4, 4.2), constrained_layout=True)
    lines = sorted({(p["temperature"], p["samples"]) for p in points})
    for number, (temperature, samples) in enumerate(lines):
        mine = [p for p in points if (p["temperature"], p["samples"]) == (temperature, samples)]
        steps = [p["steps"] * 1.03**number for p in mine]  # so that the bars don't overlap
        middle = [p["difference"] for p in mine]
        low = [m - p["difference_low"] for m, p in zip(middle, mine, strict=True)]
        high = [p["difference_high"] - m for m, p in zip(middle, mine, strict=True)]
        several = f"{samples} sample" + "s" * (samples > 1)
        label = f"temperature {temperature:g}, {several} (n = {mine[0]['cases']})"
        axes.errorbar(steps, middle, yerr=[low, high], marker="o", capsize=3, label=label)
    axes.axhline(0, color="grey", linewidth=1)
    axes.set_xscale("log")
    ticks = sorted({p["steps"] for p in points})
    axes.set_xticks(ticks, [str(step) for step in ticks])
    axes.minorticks_off()
    axes.set_xlabel("steps of the refinement")
    axes.set_ylabel("Dice, refined less prior (95 % interval)")
    axes.set_title(title)
    axes.legend()
    figure.savefig(folder / "curves.png", dpi=110)


if __name__ == "__main__":
    main()
