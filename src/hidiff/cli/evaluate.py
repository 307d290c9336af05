"""`hidiff evaluate`: how good the prior is, and how good the refined masks."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hidiff.cli.errors import Mistake
from hidiff.cli.judged_parts import check_begun, missing_of, open_journal, remove_parts
from hidiff.cli.options import (
    Compiled,
    Device,
    DeviceOption,
    Folds,
    ModelArgument,
    Overwrite,
    Runtime,
    SegmentorRuntime,
    Threads,
    load_model,
    use_threads,
)
from hidiff.cli.prediction_options import SettingChanges, check_steps, with_prediction_settings
from hidiff.cli.say import say
from hidiff.cli.shares import Part, Parts, find_share
from hidiff.models import FOLDER, find_folds, read_head
from hidiff.report.files import check_free


class Sizes(StrEnum):
    """Ways to tell small from large, of hidiff.evaluation.studies.KINDS."""

    OBJECTS = "objects"
    CALIBRE = "calibre"


@with_prediction_settings
def evaluate(
    model: ModelArgument,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Other images: a folder with images/ and masks/ (all of it, or the split that "
            "its lists name), or one laid out like the recipe's data set. Left out: the data "
            "that the recipe names.",
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            metavar="PATTERN",
            help="With --data: a regular expression with one (group) that finds the patient in a "
            "file's name, such as '^(case[0-9]+)_'. Left out: the recipe's pattern if it fits, "
            "else patients are proposed from the names.",
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help="Cases: train, validation or test.")
    ] = "test",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help="The folder to write to; left out: SPLIT in the run's folder, such as "
            "runs/NAME/test.",
        ),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write report.html, with pictures.")
    ] = True,
    sizes: Annotated[
        Sizes | None,
        typer.Option(
            "--sizes",
            help="Add tables by size. objects: each lesion or organ by its area or volume; "
            "calibre: vessels by their width.",
        ),
    ] = None,
    folds: Folds = False,
    overwrite: Overwrite = False,
    go_on: Annotated[
        bool,
        typer.Option(
            "--continue",
            help="Evaluate only the cases that no run or part into OUTPUT has evaluated yet, and "
            "join all.",
        ),
    ] = False,
    part: Part = None,
    parts: Parts = None,
    device: DeviceOption = Device.AUTO,
    threads: Threads = None,
    segmentor_runtime: SegmentorRuntime = Runtime.TORCH,
    compiled: Compiled = False,
    *,
    changes: SettingChanges,
) -> None:
    """Compare the segmentor's masks and the refined masks with the ground truth.

    Writes rows.csv (each case and class), summary.json, table.md, reliability.csv (how often a
    probability was right), review.csv, and report.html; with --sizes also sizes.csv and sizes.md.

    With --part and --parts the cases of one share are evaluated, into OUTPUT/parts. When all parts
    are done, the same command with --continue in their place joins them.

    [dim]hidiff evaluate runs/drive
    hidiff evaluate runs/drive --samples 4 --steps 5 --output runs/drive/test_4x5
    hidiff evaluate runs/drive --data other_eyes --output other_eyes_judged
    hidiff evaluate vessels --data my_eyes --output my_eyes_judged
    hidiff evaluate vessels --data my_eyes --output my_eyes_judged --part 3 --parts 16
    hidiff evaluate vessels --data my_eyes --output my_eyes_judged --continue[/dim]
    """
    share = find_share(part, parts)
    models = find_folds(model) if folds else [model]
    head = read_head(models[0])
    check_steps(changes, head.num_steps)
    if folds and split != "test":
        raise Mistake(
            f"--folds with the split {split}: each case of it trained some of the folds, so scores "
            "would be too good. Evaluate them on test."
        )
    if output is None and head.path.parent == FOLDER:
        raise Mistake(f"{model} comes with HiDiff: give --output FOLDER, a folder for the results.")
    folder = output or (model if folds or model.is_dir() else model.parent) / split
    check_free(folder, overwrite)
    check_begun(folder, share, overwrite=overwrite, go_on=go_on)
    if data is not None and not data.is_dir():
        raise FileNotFoundError(f"no folder at {data} (--data). Check the path.")

    from hidiff import experiment
    from hidiff.cli.judging import about, describe, find_cases, judge_cases, judge_into

    use_threads(threads)
    file = experiment.open_model(models[0])
    cases = find_cases(file, data, split, group)
    of_share = cases if share is None else share.choose(cases, lambda case: case.name)
    predictor = load_model(models if folds else model, device, segmentor_runtime, compiled)
    kind = sizes.value if sizes else None
    settings = about(models, predictor, data or file.recipe.data.root, split, changes, kind)
    with open_journal(folder, share, settings) as (journal, found):
        missing = missing_of(of_share, found)
        if before := len(of_share) - len(missing):
            say(f"{before} of {len(of_share)} cases were evaluated before.")
        found |= judge_cases(predictor, missing, changes, kind, journal)
    if share is not None:
        say(f"{len(of_share)} cases of {share} are evaluated: {journal.file}")
        say("When all parts are: the same command, with --continue for --part and --parts.")
        return
    facts = describe(file, predictor, data, split, cases, changes)
    judge_into(
        folder, predictor, cases, file.recipe.name, facts, changes,
        report=report, sizes=kind, found=found,
    )  # fmt: skip
    remove_parts(folder)
