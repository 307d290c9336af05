"""Make a model that comes with HiDiff out of a trained run: packed file, facts and card.

    HIDIFF_DATA=... python research/pages/shipped_models.py vessels runs/vessels

Packs the run's best model, evaluates it on the test data that cards/NAME.yaml names, and writes
NAME.safetensors, NAME.json and NAME.md to src/hidiff/models (`--output`: elsewhere). Every figure
of the card is measured here; its words are those of cards/NAME.yaml, put into cards/card.md.
The float model is judged beside the packed one, so that the card can say what packing costs.
"""

import argparse
import hashlib
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from hidiff import experiment, export, models
from hidiff.cli.pack import check_packable
from hidiff.datasets import SPLITS_FILE, Case
from hidiff.diffusion import subset
from hidiff.evaluation import judge, read_truth
from hidiff.metrics import summarise
from hidiff.metrics.table import MEAN
from hidiff.prediction import PredictionSettings, Predictor
from hidiff.recipe import change_recipe
from hidiff.training.log import METRICS_FILE
from hidiff.training.stages import STAGE1, stage2_of
from hidiff.weights import atomic_write

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research import timing
from research.pages.model_card import WORDS, Facts, write_card
from research.pages.shipped_marks import intervals, measure_marks
from research.pages.shipped_samples import measure_samples
from research.pages.shipped_scales import measure_scales

BEFORE, EQUAL = "as it stood before stage 2", "trained on alone, equal FLOPs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(file.stem for file in WORDS.glob("*.yaml")))
    parser.add_argument(
        "run",
        type=Path,
        nargs="?",
        help="the folder of a run of hidiff train; left out: only the card is written anew, of the "
        "facts that are there",
    )
    parser.add_argument(
        "--rival",
        type=Path,
        help="the run of the same segmentor alone, trained from the same stage 1 for equal FLOPs",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        help="change of a setting of the run's recipe, such as prediction.rule=expected_dice",
    )
    parser.add_argument("--output", type=Path, default=models.FOLDER)
    parser.add_argument("--condition-storage", choices=list(export.STORAGES), default="half")
    parser.add_argument("--segmentor-storage", choices=list(export.STORAGES), default="half")
    parser.add_argument("--cases", type=int, default=None, help="the first few, while developing")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    if args.cases and args.output == models.FOLDER:
        parser.error("--cases is for trying: give an --output too")
    torch.set_num_threads(args.threads)
    words = yaml.safe_load((WORDS / f"{args.name}.yaml").read_text(encoding="utf-8"))
    if args.run is None:
        made = models.ShippedModel(args.output / f"{args.name}.safetensors")
        write_card(made, words, experiment.load_recipe(made.file))
        return
    with tempfile.TemporaryDirectory() as scratch:
        make(args, words, Path(scratch))
        for made in sorted(Path(scratch).iterdir()):  # all three, or none
            with atomic_write(args.output / made.name) as temporary:
                shutil.copyfile(made, temporary)


def make(args: argparse.Namespace, words: Facts, folder: Path) -> None:
    """Write packed file, facts and card to `folder`."""
    model = experiment.open_model(args.run)
    model = model._replace(recipe=change_recipe(model.recipe, args.set))
    check_packable(model)
    storages = {
        "condition_storage": args.condition_storage,
        "segmentor_storage": args.segmentor_storage,
    }
    file = folder / f"{args.name}.safetensors"
    write_packed(file, model, words, storages)
    loaded = {
        "packed": experiment.load_predictor(file),
        "float": experiment.load_predictor(model.path),
    }
    settings = loaded["packed"].settings  # those of --set, for all
    loaded["float"].settings = settings
    splits = json.loads((args.run / SPLITS_FILE).read_text(encoding="utf-8"))["splits"]
    facts: Facts = {
        "name": args.name,
        "title": words["title"],
        "notice": words["notice"],
        "file": {
            "bytes": file.stat().st_size,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "bytes_before": model.path.stat().st_size,
            **storages,
        },
        "data": {key: words["data"][key] for key in ("name", "licence", "url")},
        "split": {
            split: {"cases": len(cases), "groups": len(set(cases.values()))}
            for split, cases in splits.items()
        },
        "training": describe_training(model, args.run),
        "tests": [],
        "machine": timing.machine(),
    }
    rivals = {BEFORE: args.run / f"{STAGE1.model}.safetensors"} if trains_segmentor(model) else {}
    rivals |= {EQUAL: args.rival} if args.rival else {}
    for test in words["tests"]:
        recipe = change_recipe(model.recipe, [f"data.{k}={v}" for k, v in test["data"].items()])
        cases = experiment.list_cases(recipe, "test")[: args.cases]
        check_unseen(cases, splits, same_set=recipe.data.source == model.recipe.data.source)
        judged = judge_models(loaded, cases)
        judged["rivals"] = judge_rivals(rivals, cases, judged["dice"], settings)
        if "marks" in test:
            judged["marks"] = measure_marks(loaded["packed"], cases, test["marks"], test["size"])
        if "scales" in test:
            judged["scales"] = measure_scales(loaded["packed"], cases, test["scales"])
        if "samples" in test:
            judged["samples"] = measure_samples(loaded["packed"], cases, test["samples"])
        facts["tests"].append({"name": test["name"], **judged})
    text = json.dumps(facts, indent=1, ensure_ascii=False)
    file.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    write_card(models.ShippedModel(file), words, model.recipe)


def trains_segmentor(model: experiment.ModelFile) -> bool:
    """Return whether stage 2 moved the segmentor, so that it differs from that of stage 1."""
    return stage2_of(model.recipe.training).trains_segmentor


def judge_rivals(
    rivals: Mapping[str, Path],
    cases: Sequence[Case],
    refined: Mapping[str, float],
    settings: PredictionSettings,
) -> Facts:
    """Return the Dice of segmentors without a refiner, and by how much the refined masks differ."""
    judged = {}
    for name, path in rivals.items():
        predictor = experiment.load_predictor(path)
        predictor.settings = settings
        dice = []
        for case in cases:
            made = predictor.predict(case.image, name=case.name, refine=False)
            rows = judge(made, read_truth(case, predictor), case, predictor, tolerance=1.0)
            dice.append(next(row["dice"] for row in rows if row["source"] == "prior"))
        groups, values = [case.group for case in cases], np.array(dice)
        own = np.array([refined[case.name] for case in cases])
        means = intervals(np.stack([values, own - values], axis=1), groups)
        judged[name] = {
            "dice": means[0],
            "difference": means[1],
            "steps": read_steps(path if path.is_dir() else path.parent),
        }
    return judged


def read_steps(run: Path) -> Facts:
    """Return the steps, the FLOPs and the segmentor's rate of the stages of a run."""
    lines = (run / METRICS_FILE).read_text(encoding="utf-8").splitlines()
    plans = [row for row in map(json.loads, lines) if row["kind"] == "plan"]
    rate = experiment.open_model(run).recipe.training.segmentor_rate
    return {"rate": rate, **{row["stage"]: [row["steps"], row["flops"]] for row in plans}}


def write_packed(
    file: Path, model: experiment.ModelFile, words: Facts, storages: Mapping[str, str]
) -> None:
    """The packed model, which says of itself where it comes from, with the data's usual path."""
    hybrid, num_steps = experiment.load_hybrid(model), model.recipe.diffusion.num_steps
    packed = export.pack_refiner(hybrid.refiner, subset(num_steps, num_steps))
    recipe = change_recipe(model.recipe, [f"data.path={words['path']}"])
    metadata = {
        **model.metadata,
        "recipe": recipe.model_dump_json(),
        "notice": words["notice"],
    }
    export.save_packed(file, hybrid.segmentor, packed, metadata, **storages)


def describe_training(model: experiment.ModelFile, run: Path) -> Facts:
    """Return the training data and time, and which checkpoint was packed."""
    recipe = model.recipe
    lines = (run / METRICS_FILE).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    plans = [row for row in rows if row["kind"] == "plan"]
    return {
        "hidiff": model.metadata.get("hidiff_version"),
        "stage": model.metadata.get("stage"),
        "step": int(model.metadata["step"]),
        "checkpoint": model.path.name,
        "segmentor": {"name": recipe.segmentor.name, **recipe.segmentor.options},
        "refiner": recipe.refiner.model_dump(mode="json"),
        "stages": {row["stage"]: row["steps"] for row in plans},
        "pflop": sum(row["flops"] for row in plans) / 1e15,
        "minutes": max(row["seconds"] for row in rows) / 60,
    }


def check_unseen(cases: Sequence[Case], splits: Mapping[str, Any], same_set: bool) -> None:
    """Raise ValueError for a case that the run trained or was chosen on."""
    seen = {**splits["train"], **splits["validation"]}
    groups = set(seen.values())
    for case in cases:
        if same_set and (case.name in seen or case.group in groups):
            raise ValueError(f"{case.name} of {case.group} was seen in training: no test.")


def judge_models(loaded: Mapping[str, Predictor], cases: Sequence[Case]) -> Facts:
    """Metrics of the packed model with their intervals, and how the float one differs."""
    rows: dict[str, list] = {name: [] for name in loaded}
    same, seconds, outside = [], [], []
    for case in cases:
        labels = {}
        for name, predictor in loaded.items():
            truth = read_truth(case, predictor)
            start = time.process_time()
            made = predictor.predict(case.image, name=case.name)
            if name == "packed":
                seconds.append(time.process_time() - start)
            labels[name] = made.labels
            rows[name] += judge(made, truth, case, predictor, tolerance=1.0)
        if case.field_of_view is not None:
            # of no metric, but users see it
            outside.append(float((labels["packed"] > 0)[~truth.inside].mean()))
        same.append(float((labels["packed"] == labels["float"]).mean()))
        print(f"{case.name}: {seconds[-1]:.2f} s, {same[-1]:.4%} of the pixels as before packing")
    refined = {
        name: {row["case"]: row["dice"] for row in found if row["source"] == "refined"}
        for name, found in rows.items()
    }
    changes = [refined["packed"][name] - dice for name, dice in refined["float"].items()]
    summary = summarise(rows["packed"])
    entries = {entry.metric: entry for entry in summary.entries if entry.class_name == MEAN}
    return {
        "cases": summary.num_cases,
        "groups": summary.num_groups,
        "unit": summary.unit,
        "metrics": {
            metric: {
                source: asdict(getattr(entry, source))
                for source in ("prior", "refined", "difference")
            }
            for metric, entry in entries.items()
        },
        "packing": {
            "same_pixels": float(np.mean(same)),
            "dice_change": float(np.mean(changes)),
        },
        "seconds": statistics.median(seconds),
        "foreground_outside": float(np.mean(outside)) if outside else None,
        "dice": {name: round(value, 5) for name, value in refined["packed"].items()},
    }


if __name__ == "__main__":
    main()
