"""Do more steps and samples help? Dice of one model over a grid of both, prior beside it.

    HIDIFF_DATA=... python benchmarks/steps_and_samples.py runs/drive --split test \
        --output benchmarks/results/drive

Writes curves.csv (a row a case, steps and samples), curves.json (means with 95 % intervals over
groups) and curves.png. `--cases` takes the first few only, while developing.
"""

import argparse
import csv
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from hidiff import build
from hidiff.inference import evaluate
from hidiff.metrics import Summary, summarise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--split", default="test")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 5, 10])
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rule", default="half")
    parser.add_argument("--temperature", type=float, default=None)
    parser.add_argument("--cases", type=int, default=None)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    recipe = build.load_recipe(args.model)
    predictor = build.load(args.model)
    cases = build.list_cases(recipe, args.split)[: args.cases]
    temperature = args.temperature or recipe.prediction.temperature
    rows, points = [], []
    for samples in args.samples:
        for steps in args.steps:
            found = evaluate(
                predictor, cases, steps=steps, samples=samples, rule=args.rule,
                temperature=temperature,
            )  # fmt: skip
            rows += [{"steps": steps, "samples": samples, **row} for row in found]
            points.append(point(steps, samples, summarise(found)))
            print(json.dumps(points[-1]), flush=True)
    args.output.mkdir(parents=True, exist_ok=True)
    with open(args.output / "curves.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    facts = {"model": recipe.name, "split": args.split, "cases": len(cases), "rule": args.rule}
    content = {**facts, "seed": recipe.prediction.seed, "temperature": temperature}
    text = json.dumps({**content, "points": points}, indent=2)
    (args.output / "curves.json").write_text(text + "\n", encoding="utf-8")
    draw(points, f"{recipe.name}, {args.split} split, {len(cases)} cases", args.output)


def point(steps: int, samples: int, summary: Summary) -> dict[str, object]:
    """The mean Dice over classes, and its interval, for one setting."""
    entry = summary.entry("mean", "dice")
    assert entry.prior and entry.refined and entry.difference
    return {
        "steps": steps,
        "samples": samples,
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
    figure, axes = plt.subplots(figsize=(6, 4), constrained_layout=True)
    shift = {samples: i for i, samples in enumerate(sorted({p["samples"] for p in points}))}
    for samples, number in shift.items():
        mine = [p for p in points if p["samples"] == samples]
        steps = [p["steps"] * 1.03**number for p in mine]  # so that the bars don't overlap
        middle = [p["difference"] for p in mine]
        low = [m - p["difference_low"] for m, p in zip(middle, mine, strict=True)]
        high = [p["difference_high"] - m for m, p in zip(middle, mine, strict=True)]
        label = f"{samples} sample" + "s" * (samples > 1)
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
