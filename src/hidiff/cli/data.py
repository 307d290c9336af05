"""`hidiff data`: commands on data sets, before anything is trained on them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hidiff.cli.catalog import list_sets, prepare
from hidiff.cli.options import Changes
from hidiff.cli.progress import progress_bar
from hidiff.cli.recipes import find_recipe
from hidiff.cli.say import console, say

if TYPE_CHECKING:
    from hidiff.datasets import Case, Splitting
    from hidiff.inspection.findings import DataReport, Finding, MaskValue
    from hidiff.recipe import Recipe

NO_GO = 1  # exit code
MOST_FILES = 5  # named beneath a finding; all of them are in the JSON
MOST_VALUES = 12  # of masks
STYLES = {"stop": "bold red", "warning": "yellow", "note": ""}

data = typer.Typer(
    name="data",
    help="Check images and masks before training; list and prepare known data sets.",
    no_args_is_help=True,
)


@data.callback()
def group() -> None:
    """Check images and masks before training; list and prepare known data sets."""


data.command("list")(list_sets)
data.command("prepare")(prepare)


@data.command()
def check(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER|RECIPE",
            help="A data folder, laid out in any way that hidiff train knows; or a recipe, whose "
            "data are read as it says.",
        ),
    ],
    changes: Changes = None,
    as_json: Annotated[
        Path | None,
        typer.Option(
            "--json", metavar="FILE|-", help="Write the report as JSON to this file; - prints it."
        ),
    ] = None,
) -> None:
    """Read every image and mask, and list what they hold and what is wrong. Ends with go or no go.

    Exit code 0 is go, 1 no go, 2 a mistake in the command.

    [dim]hidiff data check mine
    hidiff data check recipes/folder.yaml --set data.path=mine
    hidiff data check mine --json -[/dim]
    """
    report = look_at(target, changes or [])
    text = json.dumps(report.as_json(), indent=2)
    if as_json == Path("-"):
        typer.echo(text)
    else:
        if as_json is not None:
            from hidiff.weights import atomic_write

            with atomic_write(as_json) as temporary:
                temporary.write_text(text + "\n", encoding="utf-8")
        show(report)
    if not report.go:
        raise typer.Exit(NO_GO)


def look_at(target: Path, changes: list[str]) -> "DataReport":
    """Return the report on a folder, or on the data of a recipe."""
    from hidiff.cli.errors import Mistake
    from hidiff.datasets.patients import EACH_FILE
    from hidiff.inspection.check import check_cases
    from hidiff.recipe import read_recipe

    recipe = None
    if target.is_dir():
        settable = ("labels.", "data.splitting.", "data.nan=")
        if any(not change.startswith(settable) for change in changes):
            raise Mistake(
                "--set changes a recipe, and this is a folder: only labels, data.splitting and "
                "data.nan can be set for it. Leave the others out."
            )
        root = target
        splits, findings, known = share_out_unknown(target, changes)
    else:
        recipe = read_recipe(find_recipe(target), changes)
        root = recipe.data.root
        splits, findings = share_out(recipe.data.source, root, recipe.data.splitting)
        known = {
            "labels": recipe.labels,
            "channels": recipe.data.channels,
            "intensity": recipe.data.intensity,
            "grouped": recipe.data.splitting.group != EACH_FILE,
            "nan": recipe.data.nan,
        }
    with progress_bar() as bar:
        task = bar.add_task("reading", total=sum(len(cases) for cases in splits.values()))
        report = check_cases(str(root), splits, **known, done=lambda: bar.advance(task))
    # The first reason comes first: without files there is nothing else to say.
    report.findings[:0] = findings
    if recipe is not None and report.go:
        report.findings += memory_findings(recipe)
    return report


def share_out_unknown(
    root: Path, changes: list[str]
) -> "tuple[dict[str, list[Case]], list[Finding], dict[str, Any]]":
    """Return a folder's splits, what is in the way, and what its own files and the user say.

    Without a pattern from the user, patients are those that the names suggest.
    """
    from hidiff.cli.planning import given_settings
    from hidiff.images import DataError
    from hidiff.inspection.choices import known_labels
    from hidiff.inspection.findings import Finding
    from hidiff.inspection.share_out import group_by_names
    from hidiff.plan import recognise

    splitting, settings, nan = given_settings(changes)
    try:
        layout = recognise(root)
        labels, ignore = known_labels(layout.labels, settings)
    except DataError as error:
        return {}, [Finding("stop", str(error))], {}
    known = {
        "labels": labels,
        "channels": len(layout.channel_names) or None,
        "ignore": ignore,
        "nan": nan,
        "grouped": "group" in splitting.model_fields_set,
    }
    splits, findings = share_out(layout.source, root, splitting)
    if not known["grouped"]:
        proposed, warnings = group_by_names(root, splits, splitting)
        if proposed is not None:
            splits, findings = share_out(layout.source, root, proposed)
        findings = [*findings, *warnings]
    return splits, findings, known


def share_out(
    source: str, root: Path, splitting: "Splitting"
) -> "tuple[dict[str, list[Case]], list[Finding]]":
    """Return the splits of a known data set, and the reasons why it cannot be split."""
    from hidiff.datasets import MissingSplit, load_split
    from hidiff.datasets.catalog import CATALOG
    from hidiff.datasets.listing import WRITERS
    from hidiff.datasets.splits import SPLITS
    from hidiff.images import DataError
    from hidiff.inspection.findings import Finding
    from hidiff.inspection.share_out import share_out_folder

    known = CATALOG[source]
    if known is CATALOG["folder"] and root.is_dir():
        return share_out_folder(root, splitting)
    splits, findings = {}, []
    if source in WRITERS and not root.is_dir():
        text = f"{root} is not there yet: training makes {known.title} there."
        return {}, [Finding("stop", text + " To look at it now, train with --check first.")]
    for split in SPLITS:
        try:
            splits[split] = load_split(source, root, split, splitting=splitting)
        except DataError as error:
            may_be = split == "test" and isinstance(error, MissingSplit)
            findings.append(Finding("warning" if may_be else "stop", str(error)))
    return splits, list(dict.fromkeys(findings))  # what stops one split may stop the other


def memory_findings(recipe: "Recipe") -> "list[Finding]":
    """Return what stands against training in this machine's memory."""
    import warnings

    from hidiff.experiment import Experiment, check_memory
    from hidiff.inspection.findings import Finding

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_memory(Experiment(recipe, Path(recipe.name)))
        except ValueError as error:
            return [Finding("stop", str(error))]
    return [Finding("warning", str(each.message)) for each in caught]


def show(report: "DataReport") -> None:
    """Print all of it in tables and sentences; the last line is the verdict."""
    say(report.place, "bold")
    if report.cases:
        table = Table("split", "cases", "groups", title_justify="left")
        for split, count in report.cases.items():
            table.add_row(split, str(count), str(report.groups[split]))
        console.print(table)
        say(f"sizes     {counted(report.sizes)}")
        if report.spacings:
            say(f"voxels    {counted(report.spacings)}")
        say(f"channels  {counted(report.channels)}")
        say(f"types     images {counted(report.types)}; masks {counted(report.mask_types)}")
    if report.values:
        console.print(value_table(report.values))
    if report.reading:
        say(f"Masks: {report.reading}.")
    for finding in report.findings:
        say(f"{finding.level}: {finding.text}", STYLES[finding.level])
        for name in finding.files[:MOST_FILES]:
            if name not in finding.text:
                say(f"    {name}")
        if len(finding.files) > MOST_FILES:
            say(f"    and {len(finding.files) - MOST_FILES} more")
    stops = sum(finding.level == "stop" for finding in report.findings)
    warnings = sum(finding.level == "warning" for finding in report.findings)
    if report.go:
        doubts = f", but look at the {warnings} warnings above first" if warnings > 1 else ""
        doubts = ", but look at the warning above first" if warnings == 1 else doubts
        say(f"go{doubts}", "bold yellow" if warnings else "bold green")
    else:
        say(f"no go: {stops} thing{'' if stops == 1 else 's'} to correct first", "bold red")


def value_table(values: "list[MaskValue]") -> Table:
    table = Table("value", "share of pixels", "masks that hold it", title_justify="left")
    for each in values[:MOST_VALUES]:
        table.add_row(f"{each.value:g}", f"{100 * each.share:.3g} %", str(each.masks))
    if len(values) > MOST_VALUES:
        table.add_row(f"and {len(values) - MOST_VALUES} more", "", "")
    return table


def counted(counts: Mapping[Any, int]) -> str:
    """Count equal words: "96x96 (29), 80x96 (1)"."""
    shown = [f"{name} ({count})" for name, count in list(counts.items())[:MOST_FILES]]
    more = len(counts) - MOST_FILES
    return ", ".join([*shown, *([f"and {more} more"] if more > 0 else [])]) or "none"
