"""Run a suite: train what is not trained yet, evaluate what is not evaluated yet, keep the rows."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from hidiff import experiment
from hidiff._version import __version__
from hidiff.datasets import record_splits
from hidiff.images.files import first_file
from hidiff.metrics import Band, Summary, summarise, summarise_bands, write_csv
from hidiff.recipe import Recipe
from hidiff.suites.hardware import describe_hardware
from hidiff.suites.identity import digest, identify
from hidiff.suites.judging import Judged, judge_model
from hidiff.suites.rates import choose_rate, list_candidates
from hidiff.suites.rows import VERSION, Identity, Results, Row, file_name
from hidiff.suites.runs import Run, judged_recipe
from hidiff.suites.suite import SEGMENTOR_ONLY, STAGE1, Evaluation, SuiteError
from hidiff.training.log import METRICS_FILE
from hidiff.weights import atomic_write

SPENT_FILE = "spent.json"  # stages of a run and their cost; written when the run has ended
Say = Callable[[str], object]
Spent = dict[str, int | float]


def run_suite(
    runs: Sequence[Run], results: Results, folder: Path, device: torch.device, say: Say
) -> None:
    """Train and evaluate every run that has no row yet; all suites share the models in `folder`.

    An interrupted run goes on from its last checkpoint. One process at a time. Raises SuiteError
    if a model would be evaluated on patients of its own training.
    """
    for run in runs:
        complete_run(run, results, folder, device, say)


def complete_run(run: Run, results: Results, folder: Path, device: torch.device, say: Say) -> None:
    """Complete the candidates of a run, and then the run with the rate that is best of them."""
    rows = [
        row
        for candidate in list_candidates(run)
        for row in complete(candidate, results, folder, device, say)
    ]
    complete(choose_rate(run, rows), results, folder, device, say)


def is_complete(run: Run, results: Results) -> bool:
    """Return whether a run has all its rows; of one whose rate is to be chosen nobody knows."""
    return not run.rates and all(
        results.find(identify_row(run, name, evaluation)) is not None
        for name, evaluation in run.evaluations.items()
    )


def complete(run: Run, results: Results, folder: Path, device: torch.device, say: Say) -> list[Row]:
    """Train a run if one of its evaluations has no row yet. Return the rows of all of them."""
    found = {
        name: results.find(identify_row(run, name, evaluation))
        for name, evaluation in run.evaluations.items()
    }
    missing = [name for name, row in found.items() if row is None]
    if not missing:
        say(f"{run.name}: done before")
    for name in missing:
        check_unseen(run, name, run.evaluations[name])
    trained = []
    if missing:
        say(f"{run.name}: training")
        trained = train_run(run, folder, device)
    for name in missing:
        say(f"{run.name}: judging on {name}")
        row = judge_run(run, name, run.evaluations[name], trained, results.folder, device)
        results.add(row, run.recipe, run.stage1)
        found[name] = row
    return [row for row in found.values() if row is not None]


def identify_row(run: Run, name: str, evaluation: Evaluation) -> Identity:
    """Return all that the row of a run and evaluation is found by."""
    recipe = judged_recipe(run, evaluation)
    trained = record_splits(experiment.list_splits(run.recipe))["sha256"]
    judged = trained if recipe.data == run.recipe.data else split_hash(recipe)
    fields = {
        "data": run.data,
        "arm": run.arm,
        "seed": run.seed,
        "evaluation": name,
        "look": evaluation.changes,
        "size_kind": run.sizes,
        "split_sha256": trained,
        "judged_sha256": judged,
        "rates": dict(run.tried) or None,
    }
    return Identity(fields, run.recipe, run.stage1)


def check_unseen(run: Run, name: str, evaluation: Evaluation) -> None:
    """Raise SuiteError if a patient of the training is also in the evaluation."""
    if not (evaluation.data or run.came):
        return  # The parts of one split never share a patient.
    judged = judged_recipe(run, evaluation)
    cases = experiment.list_cases(judged, evaluation.split)
    for recipe in (run.recipe, run.stage1):
        train = experiment.list_cases(recipe, "train")
        files = {first_file(case.image).resolve() for case in train}
        one_set = recipe.data.source == judged.data.source and (
            recipe.data.root.resolve() == judged.data.root.resolve()
        )
        groups = {case.group for case in train} if one_set else set()
        seen = {
            case.group
            for case in cases
            if case.group in groups or first_file(case.image).resolve() in files
        }
        if seen:
            raise SuiteError(
                f"{run.data}, {run.arm}: the evaluation {name} would judge it on {len(seen)} "
                f"patients of its own training ({', '.join(sorted(seen)[:3])}). Judge it on "
                "others, or train it by a split that leaves them out."
            )


def split_hash(recipe: Recipe) -> str:
    return record_splits(experiment.list_splits(recipe, needed=["test"]))["sha256"]


def train_run(run: Run, folder: Path, device: torch.device) -> list[Path]:
    """Train stage 1, unless another run has, and then the run. Return their folders in order."""
    first = train_once(run.stage1, folder, device, STAGE1)
    if run.arm == STAGE1:
        return [first]
    weights = str(first / f"{STAGE1}.safetensors")
    segmentor = run.recipe.segmentor.model_copy(update={"weights": weights})
    recipe = run.recipe.model_copy(update={"segmentor": segmentor})
    return [first, train_once(recipe, folder, device, run.arm, run.stage1)]


def train_once(
    recipe: Recipe, folder: Path, device: torch.device, arm: str, *stage1: Recipe
) -> Path:
    """Train unless that is done already. Return the folder, whose name has a hash of all settings.

    There is no validation during training: every arm is evaluated after its last step.
    """
    place = folder / run_name(recipe, arm, *stage1)
    if not (place / SPENT_FILE).is_file():
        named = recipe.model_copy(update={"name": place.name})
        experiment.train(named, place, resume=True, cpu=device.type == "cpu", validate=False)
        spent = count_spent(place, recipe.training.batch_size)
        with atomic_write(place / SPENT_FILE) as temporary:
            temporary.write_text(json.dumps(spent, indent=1) + "\n", encoding="utf-8")
    return place


def run_name(recipe: Recipe, arm: str, *stage1: Recipe) -> str:
    """Return the name of the folder that a recipe is trained in; it has a hash of all settings."""
    contents = [identify(each) for each in (recipe, *stage1)]
    del contents[0]["prediction"]  # does not matter in training
    return file_name(recipe.name, arm, f"seed{recipe.seed}", digest(*contents)[:10])


def count_spent(folder: Path, batch_size: int) -> dict[str, Spent]:
    """Return steps, images, FLOPs and seconds of each stage, from the run's log."""
    text = (folder / METRICS_FILE).read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return {
        plan["stage"]: {
            "steps": plan["steps"],
            "images": plan["steps"] * batch_size,
            "flops": plan["flops"],
            "seconds": round(
                max(row["seconds"] for row in rows if row["stage"] == plan["stage"])
                - plan["seconds"],
                2,
            ),
        }
        for plan in rows
        if plan["kind"] == "plan"
    }


def judge_run(
    run: Run,
    name: str,
    evaluation: Evaluation,
    trained: list[Path],
    folder: Path,
    device: torch.device,
) -> Row:
    """Return the row of a trained run on one evaluation; write single cases to `folder`."""
    recipe = judged_recipe(run, evaluation)
    model = trained[-1] / f"{STAGE1 if run.arm == STAGE1 else 'last'}.safetensors"
    cases = experiment.list_cases(recipe, evaluation.split)
    found = judge_model(experiment.open_model(model), recipe, evaluation, cases, run.sizes, device)
    identity = identify_row(run, name, evaluation)
    keys = [digest(each.model_dump(mode="json")) for each in (run.recipe, run.stage1)]
    unique = digest(identity.fields, *map(identify, (run.recipe, run.stage1)))[:10]
    file = f"{file_name(run.data, run.arm, f'seed{run.seed}', name, unique)}.csv"
    write_csv(found.rows, folder / "cases" / file)
    if found.bands:
        write_csv(found.bands, folder / "sizes" / file)
    if found.corrections:
        write_csv(found.corrections, folder / "corrections" / file)
    spent: dict[str, Spent] = {}
    for place in trained:
        spent |= json.loads((place / SPENT_FILE).read_text(encoding="utf-8"))
    return {
        "version": VERSION,
        "suite": run.suite,
        **identity.fields,
        "resolved_recipe": keys[0],
        "resolved_stage1": keys[1],
        "recipe": run.recipe.name,
        **({"stage1": run.stage1.name} if run.came else {}),
        "source": recipe.data.source,
        "changes": dict(run.changes),
        "hidiff": __version__,
        "hardware": describe_hardware(device),
        **describe_training(spent),
        **describe_prediction(recipe, run.arm),
        "seconds_per_case": round(found.seconds_per_case, 4),
        **describe_findings(found),
        "cases": f"cases/{file}",
        "sizes": f"sizes/{file}" if found.bands else None,
        **({"corrections": f"corrections/{file}"} if found.corrections else {}),
    }


def describe_training(spent: dict[str, Spent]) -> Row:
    """Return the training budget of each stage."""
    return {
        "steps": {stage: each["steps"] for stage, each in spent.items()},
        "flops": {stage: each["flops"] for stage, each in spent.items()},
        "images": {stage: each["images"] for stage, each in spent.items()},
        "train_seconds": {stage: each["seconds"] for stage, each in spent.items()},
    }


def describe_prediction(recipe: Recipe, arm: str) -> Row:
    """Return the settings that say how much work a prediction was, if there is a refiner."""
    used, num_steps = recipe.prediction, recipe.diffusion.num_steps
    if arm in (STAGE1, SEGMENTOR_ONLY):
        return {"prediction": {"rule": used.rule}}
    return {
        "prediction": {
            "rule": used.rule,
            "steps": used.steps_of(num_steps),
            "samples": used.samples,
            "temperature": used.temperature_or_default,
        }
    }


def describe_findings(found: Judged) -> Row:
    """Return metrics with their intervals, per class and source."""
    summary: Summary = summarise(found.rows)
    corrected = summarise_bands(found.corrections)
    metrics: dict[str, dict[str, Any]] = {}
    for entry in summary.entries:
        sources = {"prior": entry.prior, "refined": entry.refined, "difference": entry.difference}
        metrics.setdefault(entry.class_name, {})[entry.metric] = {
            name: [each.mean, each.low, each.high] for name, each in sources.items() if each
        }
    return {
        "num_cases": summary.num_cases,
        "num_groups": summary.num_groups,
        "per": summary.per,
        "unit": summary.unit,
        "metrics": metrics,
        **({"corrected": describe_corrections(corrected)} if corrected else {}),
    }


def describe_corrections(bands: Sequence[Band]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return means with their intervals by class, number of clicks and metric."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for band in bands:
        numbers = found.setdefault(band.class_name, {}).setdefault(band.name, {})
        for entry in band.summary.entries:
            each = entry.refined or entry.prior
            if entry.class_name == band.class_name and each:
                numbers[entry.metric] = [each.mean, each.low, each.high]
    return found
