"""Judging a model: on which cases, with which facts, into which files, and the table in the end."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from hidiff import experiment
from hidiff._version import __version__
from hidiff.cli.errors import Mistake
from hidiff.cli.progress import progress_bar
from hidiff.cli.say import console, say, warn
from hidiff.datasets import Case, Splitting, load_split
from hidiff.datasets.find import find_images
from hidiff.datasets.patients import pattern_for
from hidiff.datasets.splits import SPLITS
from hidiff.evaluation import evaluate
from hidiff.evaluation.evaluate import Truth
from hidiff.evaluation.studies import CalibrationStudy, SizeStudy
from hidiff.metrics import Summary, write_review
from hidiff.metrics.table import MEAN, Row
from hidiff.prediction import Prediction, Predictor
from hidiff.report.files import REVIEW_FILE, SIZE_FILES, result_files
from hidiff.report.format import (
    format_interval,
    format_mean,
    format_test,
    judge,
    metric_title,
    shown_classes,
)
from hidiff.report.results import (
    review_cases,
    write_reliability,
    write_sizes,
    write_tables,
)

FEW = 10  # groups: a bootstrap interval of fewer is narrower than it should be
COLOURS = {"better": "green", "worse": "red"}  # of a difference whose interval is beside zero


def find_cases(
    file: experiment.ModelFile, data: Path | None, split: str, group: str | None = None
) -> Sequence[Case]:
    """Return the cases of the recipe's own split, or of another folder.

    `group` finds the patients of another folder; without it the recipe's pattern does if it fits
    the names there, else the names themselves.
    """
    recipe = file.recipe
    if data is None:
        if group is not None:
            raise Mistake("--group is for another folder: give it with --data, or leave it out.")
        return experiment.list_cases(recipe, split)
    if not ((data / "images").is_dir() and (data / "masks").is_dir()):
        splitting = recipe.data.splitting
        if group is not None:
            splitting = Splitting.model_validate({**splitting.model_dump(), "group": group})
        return load_split(recipe.data.source, data, split, splitting=splitting)
    own = recipe.data.root
    if own.exists() and own.resolve() == data.resolve():
        # Judged as a whole it would count the images that the model was trained on.
        return experiment.list_cases(recipe, split)
    train, validation, test = (float(name == split) for name in SPLITS)
    if group is None:
        own_pattern = recipe.data.splitting.group
        group, sentence = pattern_for(list(find_images(data / "images")), own_pattern)
        if sentence:
            warn(f"{sentence}. --group says whose files are whose.")
    splitting = Splitting(fractions=(train, validation, test), group=group)
    return load_split("folder", data, split, splitting=splitting)


def describe(
    file: experiment.ModelFile,
    predictor: Predictor,
    data: Path | None,
    split: str,
    cases: Sequence[Case],
    changes: Mapping[str, Any],
) -> dict[str, str]:
    """Return the facts behind the numbers, for the head of the report."""
    recipe = file.recipe
    used = predictor.settings.model_copy(update=dict(changes))
    num_steps = recipe.diffusion.num_steps
    facts = {
        "data": f"{data or recipe.data.source}, {split}: {len(cases)} images",
        "model": f"{file.path.name}, step {file.metadata.get('step', '?')} of "
        f"{file.metadata.get('stage', '?')}",
        "segmentor": recipe.segmentor.name,
        "decision": used.rule + (", mirrored" if used.mirror else ""),
        "HiDiff": __version__,
    }
    if predictor.refines:
        taken, temperature = used.steps_of(num_steps), used.temperature_or_default
        facts |= {
            "refiner": f"{recipe.refiner.precision}, width {recipe.refiner.width}",
            "steps": f"{taken} of T = {num_steps}, {used.sampler}",
            "samples": f"{used.samples}, seed {used.seed}, temperature {temperature:g}",
        }
    return facts


def judge_into(
    folder: Path,
    predictor: Predictor,
    cases: Sequence[Case],
    name: str,
    facts: Mapping[str, str],
    changes: Mapping[str, Any],
    *,
    report: bool,
    sizes: str | None = None,
) -> list[Row]:
    """Evaluate, write all files of it in place of any older ones, and print the table.

    Returns the rows.

    `sizes`, of studies.KINDS, asks for tables by size too.
    """
    if not predictor.refines:
        warn("this model has no trained refiner: only the segmentor's own masks are judged.")
    used = predictor.settings.model_copy(update=dict(changes))
    # The mean of several samples hides how reliable one of them is; a trace holds the first.
    first_sample = {"trace": True} if predictor.refines and used.samples > 1 else {}
    calibration = CalibrationStudy(used.samples)
    by_size = SizeStudy(sizes) if sizes else None
    doubt: dict[str, float] = {}
    with progress_bar() as bar:
        task = bar.add_task("evaluating", total=len(cases))

        def done(case: Case, prediction: Prediction, truth: Truth, found: list) -> None:
            doubt[case.name] = prediction.doubt
            calibration.add(prediction, truth, predictor.labels, predictor.refines)
            if by_size:
                by_size.add(case, prediction, truth, predictor.labels, predictor.refines)
            bar.advance(task)

        rows = evaluate(predictor, cases, done=done, **first_sample, **changes)
    for old in result_files(folder):
        old.unlink()
    summary = write_tables(folder, rows)
    review = review_cases(rows, doubt)
    write_review(review, folder / REVIEW_FILE)
    if calibration.curves:
        write_reliability(folder, calibration)
    if by_size:
        write_sizes(folder, by_size)
    console.print(results_table(summary))
    say(str(review))
    if report:
        # Brings matplotlib and Jinja, which an evaluation without a report does without.
        from hidiff.report.illustrated import write_illustrated_report

        page = write_illustrated_report(
            folder, rows, summary, predictor, cases,
            title=f"{name}: evaluation", facts=facts, notes=[str(review)],
            calibration=calibration, sizes=by_size, **changes,
        )  # fmt: skip
        say(f"Report: {page}")
    say(f"Rows:   {folder / 'rows.csv'}")
    if by_size:
        say(f"Sizes:  {folder / SIZE_FILES[1]}")
    return rows


def results_table(summary: Summary, metrics: Sequence[str] = ("dice", "hd95")) -> Table:
    """Prior and refined side by side, with the difference and its interval."""
    unit = "images" if summary.num_groups == summary.num_cases else "groups"
    caption = f"mean over {summary.num_groups} {unit}, measured per {summary.per}"
    if summary.num_groups < FEW:
        caption += "; of so few, intervals are too narrow"
    table = Table("class", "metric", caption=caption)
    for title in ("prior", "refined", "difference, 95 % interval", "p (Wilcoxon)"):
        table.add_column(title, justify="right")
    for metric in metrics:
        for name in shown_classes(summary):
            entry = summary.entry(name, metric)
            difference = format_interval(metric, entry.difference, signed=True)
            table.add_row(
                name,
                metric_title(metric, summary.unit),
                format_mean(metric, entry.prior),
                format_mean(metric, entry.refined),
                Text(difference, COLOURS.get(judge(entry), "")),
                format_test(entry.test),
                style="bold" if name == MEAN else "",
            )
        table.add_section()
    return table
