"""Judging a model: on which cases, with which facts, into which files, and the table in the end."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from hidiff import experiment
from hidiff._version import __version__
from hidiff.cli.errors import DEBUG_VARIABLE, FAILED, MISTAKE, Mistake
from hidiff.cli.progress import Pace
from hidiff.cli.say import console, say, show_failures, warn
from hidiff.cluster import file_hash
from hidiff.datasets import Case, Splitting, load_split
from hidiff.datasets.find import find_images
from hidiff.datasets.patients import pattern_for
from hidiff.datasets.splits import SPLITS
from hidiff.evaluation.findings import Findings, Journal, find_all
from hidiff.evaluation.studies import CalibrationStudy, SizeStudy
from hidiff.metrics import Summary, write_review
from hidiff.metrics.table import MEAN, Row
from hidiff.prediction import Predictor
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
            warn(f"{sentence}. Give --group, a pattern that finds the patient.")
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


def about(
    models: Sequence[Path],
    predictor: Predictor,
    data: Path,
    split: str,
    changes: Mapping[str, Any],
    sizes: str | None,
) -> dict[str, Any]:
    """Return what findings depend on, so that those of another evaluation are told apart."""
    return {
        "HiDiff": __version__,
        "models": [file_hash(experiment.find_model(model)) for model in models],
        "data": str(data.absolute()),
        "split": split,
        **predictor.settings.model_copy(update=dict(changes)).model_dump(mode="json"),
        "sizes": sizes,
    }


def judge_cases(
    predictor: Predictor,
    cases: Sequence[Case],
    changes: Mapping[str, Any],
    sizes: str | None = None,
    journal: Journal | None = None,
) -> dict[str, Findings]:
    """Predict and judge cases; return what was found by their names, and note it in the journal.

    A case that fails is named in the end, when all others are evaluated; then the command ends with
    exit code 1, or 2 if none could be judged.
    """
    if not predictor.refines:
        warn("this model has no trained refiner: only the segmentor's own masks are evaluated.")
    found: dict[str, Findings] = {}
    failures: list[str] = []
    with Pace(len(cases), "evaluating") as pace:

        def ended(case: Case, result: Findings | Exception) -> None:
            if isinstance(result, Exception):
                if not isinstance(result, ValueError | OSError) or DEBUG_VARIABLE in os.environ:
                    raise result
                failures.append(f"{case.name}: {' '.join(str(result).split())}")
            else:
                found[case.name] = result
                if journal is not None:
                    journal.add(result)
            pace.step()

        find_all(predictor, cases, ended, sizes=sizes, **changes)
    if failures:
        show_failures(failures)
        raise typer.Exit(FAILED if found else MISTAKE)
    return found


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
    found: Mapping[str, Findings] | None = None,
) -> list[Row]:
    """Evaluate, write all files of it in place of any older ones, and print the table.

    Returns the rows. `sizes`, of studies.KINDS, asks for tables by size too. `found` is what is
    known of the cases already, by their names; left out, all are evaluated here.
    """
    found = judge_cases(predictor, cases, changes, sizes) if found is None else found
    used = predictor.settings.model_copy(update=dict(changes))
    calibration = CalibrationStudy(used.samples)
    by_size = SizeStudy(sizes) if sizes else None
    in_order = [found[case.name] for case in cases]
    for each in in_order:
        each.add_to(calibration, by_size)
    rows = [row for each in in_order for row in each.rows]
    doubt = {each.case: each.doubt for each in in_order}
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
    """Return a table of prior, refined, and their difference with its interval."""
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
