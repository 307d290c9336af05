"""Does the hybrid beat the segmentor trained on with the same budget? One table, paired.

    HIDIFF_DATA=... python research/method/against_baseline.py \
        --hybrid runs/drive --baseline runs/drive_baseline --output research/method/results/drive

Both are judged on the test split with both decision rules. Writes rows.csv (a row a case, class,
source and rule) and README.md: stage 1 alone (if `--stage1` is given), baseline, the hybrid's own
prior, refined, and the paired difference of refined less baseline with its 95 % interval over
groups. The budget and the wall time of each run come from its metrics.jsonl.
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import torch

from hidiff import experiment
from hidiff.datasets import Case
from hidiff.evaluation import evaluate
from hidiff.metrics import METRICS, Summary, summarise
from hidiff.metrics.table import MEAN
from hidiff.prediction import RULES, Predictor
from hidiff.report.format import format_test
from hidiff.suites.hardware import processor

# What other benchmarks left beside the table: file -> title and words.
BESIDE = {
    "curves.png": (
        "Steps, samples and temperature",
        """![Dice against steps](curves.png)

`steps_and_samples.py` makes it. At temperature 1 a sample is a mask as likely as the model finds
it, like another reader's, and agrees less with the truth than the likeliest mask; the mean of
several comes back toward it. At temperature 0 the chain keeps to the likeliest mask.""",
    ),
    "raters.png": (
        "Samples against raters",
        """![Energy distance and matched IoU against the number of samples](raters.png)

`raters.py` makes it ([numbers](raters.json), 95 % intervals over patients). Each sample, drawn at
temperature 1 and cut at 0.5, is compared with every rater's own mask; beside them the baseline's
single mask, and masks drawn from the hybrid's prior pixel by pixel.""",
    ),
    "sizes.md": (
        "By size",
        """[sizes.md](sizes.md), the hybrid's prior against its refined masks: `hidiff evaluate
--sizes objects` makes it.""",
    ),
}
Row = dict[str, Any]
PER_CLASS = ("dice", "hd95")  # the metrics that are shown of each class too
TITLES = {"half": "cut at 0.5", "expected_dice": "cut of the best expected Dice"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hybrid", type=Path, required=True)
    parser.add_argument("--baseline", type=Path, required=True)
    parser.add_argument("--stage1", type=Path, default=None)
    parser.add_argument("--split", default="test")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--samples", type=int, default=None)
    parser.add_argument("--model", default="last.safetensors", help="which checkpoint of each run")
    parser.add_argument("--cases", type=int, default=None, help="the first few, while developing")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    recipe = experiment.load_recipe(args.hybrid / args.model)
    cases = experiment.list_cases(recipe, args.split)[: args.cases]
    found = judge_arms(args, cases)
    rows = [
        {"rule": rule, "arm": arm, **row}
        for rule, arms in found.items()
        for arm, each in arms.items()
        for row in each
    ]
    tables = [f"### Labels: {TITLES[rule]}\n\n{table(arms)}" for rule, arms in found.items()]
    args.output.mkdir(parents=True, exist_ok=True)
    with open(args.output / "rows.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    facts = describe(args, recipe, len(cases), len({case.group for case in cases}))
    page = [f"# {recipe.name}: hybrid against baseline", facts, *tables]
    for name, (title, words) in BESIDE.items():
        if (args.output / name).is_file():
            page += [f"### {title}", words]
    (args.output / "README.md").write_text("\n\n".join(page) + "\n", encoding="utf-8")
    print("\n\n".join(page))


def work_of(args: argparse.Namespace) -> dict[str, Any]:
    """The prediction settings that were given."""
    given = {"steps": args.steps, "samples": args.samples}
    return {name: value for name, value in given.items() if value is not None}


def judge_arms(args: argparse.Namespace, cases: list[Case]) -> dict[str, dict[str, list[Row]]]:
    """Rule -> arm -> rows: the prior's of stage 1 and baseline, both of the hybrid."""
    models = {"baseline": args.baseline / args.model, "hybrid": args.hybrid / args.model}
    if args.stage1:
        models = {"stage 1": args.stage1, **models}
    found: dict[str, dict[str, list[Row]]] = {rule: {} for rule in RULES}
    for name, path in models.items():
        for rule, rows in judge_model(
            experiment.load_predictor(path), cases, work_of(args)
        ).items():
            if name == "hybrid":
                found[rule]["hybrid's prior"] = [r for r in rows if r["source"] == "prior"]
                found[rule]["refined"] = [r for r in rows if r["source"] == "refined"]
            else:
                found[rule][name] = [r for r in rows if r["source"] == "prior"]
        print(f"{name}: done", flush=True)
    return found


def judge_model(
    predictor: Predictor, cases: list[Case], work: dict[str, Any]
) -> dict[str, list[Row]]:
    """Return the rows of every case under each rule."""
    return {rule: evaluate(predictor, cases, rule=rule, **work) for rule in RULES}


def table(found: dict[str, list[Row]]) -> str:
    """A Markdown table: a row a metric, a column an arm, and the paired difference."""
    arms = list(found)
    lines = [
        f"| metric | {' | '.join(arms)} | refined less baseline (95 %), p | "
        "refined less its prior |",
        "|---" * (len(arms) + 3) + "|",
    ]
    singles = {arm: summarise(rows) for arm, rows in found.items()}
    against = paired(found["baseline"], found["refined"])
    within = paired(found["hybrid's prior"], found["refined"])
    names = against.class_names[:-1] if len(against.class_names) > 2 else ()
    for metric in METRICS:
        for name in (MEAN, *(names if metric in PER_CLASS else ())):
            means = []
            for single in singles.values():
                entry = single.entry(name, metric)
                interval = entry.prior or entry.refined
                assert interval
                means.append(f"{interval.mean:.4f}")
            differences = [difference(each, name, metric) for each in (against, within)]
            title = METRICS[metric].title + ("" if name == MEAN else f", {name}")
            lines.append(f"| {title} | {' | '.join(means + differences)} |")
    return "\n".join(lines)


def paired(before: list[Row], after: list[Row]) -> Summary:
    """The two arms as the two sources of one summary, so that the difference is paired."""
    rows = [{**row, "source": "prior"} for row in before]
    return summarise(rows + [{**row, "source": "refined"} for row in after])


def difference(summary: Summary, name: str, metric: str) -> str:
    entry = summary.entry(name, metric)
    gap = entry.difference
    assert gap
    ends = "" if gap.low is None else f" ({gap.low:+.4f} to {gap.high:+.4f})"
    chance = "" if entry.test is None else f", {format_test(entry.test)}"
    return f"{gap.mean:+.4f}{ends}{chance}"


def describe(args: argparse.Namespace, recipe, num_cases: int, num_groups: int) -> str:
    """Return the data, seed, settings and hardware that the numbers rest on."""
    used = recipe.prediction.model_copy(update=work_of(args))
    lines = [
        f"- data: {recipe.data.source}, {args.split} split, {num_cases} cases of {num_groups} "
        "groups; distances in pixels, of volumes in mm, or voxels where the spacing is lost; "
        "inside the field of view where the set has one",
        f"- seed {recipe.seed}; checkpoint `{args.model}`; steps "
        f"{used.steps_of(recipe.diffusion.num_steps)}, samples {used.samples}, temperature "
        f"{used.temperature_or_default:g}",
        f"- measured on: {processor()}, {torch.get_num_threads()} threads",
    ]
    for name, folder in (("hybrid", args.hybrid), ("baseline", args.baseline)):
        spent = budget_of(folder)
        lines.append(
            f"- {name}: stage 2 of {spent['steps']} steps, {spent['flops'] / 1e15:.2f} PFLOP of "
            f"training, {spent['seconds'] / 60:.0f} minutes wall time (validation included)"
        )
    return "\n".join(lines)


def budget_of(folder: Path) -> dict[str, float]:
    """Steps, FLOPs and seconds of a run's last stage, from its metrics.jsonl."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    plans = [row for row in rows if row["kind"] == "plan"]
    last = plans[-1]
    seconds = max(row["seconds"] for row in rows if row["stage"] == last["stage"])
    return {"steps": last["steps"], "flops": last["flops"], "seconds": seconds - last["seconds"]}


if __name__ == "__main__":
    main()
