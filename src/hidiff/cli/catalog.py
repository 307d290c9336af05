"""`hidiff data list` and `prepare`: the data sets known by name, and their downloads made ready."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hidiff.cli.say import console, say

if TYPE_CHECKING:
    from hidiff.datasets import CatalogEntry


def list_sets(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all that is known as JSON, for a program.")
    ] = False,
    page: Annotated[bool, typer.Option("--markdown", help="Print docs/data.md.")] = False,
) -> None:
    """List the data sets that HiDiff knows by name, with content, splits and terms of use.

    [dim]hidiff data list[/dim]
    """
    from hidiff.datasets import CATALOG, PREPARERS

    if as_json:
        typer.echo(
            json.dumps({name: facts(name, entry) for name, entry in CATALOG.items()}, indent=2)
        )
        return
    if page:
        from hidiff.cli.catalog_page import catalog_page

        typer.echo(catalog_page(), nl=False)
        return
    table = Table("name", "title", "modality", "classes", "split", "terms", "read", "recipe")
    for name, entry in CATALOG.items():
        how = "once prepared" if name in PREPARERS else "as it is"
        table.add_row(
            name,
            entry.title,
            entry.modality,
            entry.classes,
            entry.split,
            entry.terms,
            how,
            entry.recipe,
        )
    console.print(table)
    say("More of each, layout and citation too: docs/data.md, or --json.")


def prepare(
    name: Annotated[str, typer.Argument(help="Name of the data set; see hidiff data list.")],
    source: Annotated[Path, typer.Argument(help="The download: its folder, or its one file.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help="The folder to write; left out: NAME_prepared, in $HIDIFF_DATA where that is set.",
        ),
    ] = None,
) -> None:
    """Make a download ready for training, and tell whether it is complete.

    If HiDiff reads a data set as it was downloaded, its files are only counted. The command can be
    repeated: it finds the folder as it was left.

    [dim]hidiff data prepare lidc nodules_4raters.npz
    hidiff data prepare synapse TransUNet/data/Synapse --output synapse
    hidiff data prepare kvasir_seg Kvasir-SEG[/dim]
    """
    from hidiff.cli.errors import Mistake
    from hidiff.datasets import CATALOG
    from hidiff.datasets import prepare as make_ready
    from hidiff.loading import DataSettings

    if name not in CATALOG:
        raise Mistake(f"data set {name!r} is not known, but one of {', '.join(CATALOG)} is wanted.")
    folder = output or DataSettings(source=name, path=f"{name}_prepared").root
    prepared = make_ready(name, source, folder)
    say(f"{CATALOG[name].title}: {prepared.folder}", "bold")
    for kind, count in prepared.found.items():
        say(f"  {kind:11}{count}")
    for line in prepared.missing:
        say(f"warning: {line}", "yellow")
    if not prepared.missing and CATALOG[name].holds is not None:
        say("All that the data set should hold is there.", "green")
    if not prepared.written:
        say("Nothing was written: the folder is there already, or is read as it comes.")
    recipe = CATALOG[name].recipe
    if recipe:
        change = shlex.quote(f"data.path={prepared.folder.absolute()}")
        say(f"Train: hidiff train {recipe} --set {change}")


def facts(name: str, entry: "CatalogEntry") -> dict[str, Any]:
    """Return all that is known of a data set, in plain words and numbers."""
    from dataclasses import asdict

    from hidiff.datasets import PREPARERS

    known = {key: value for key, value in vars(entry).items() if key != "list_cases"}
    return {
        **known,
        "labels": entry.labels.model_dump(mode="json") if entry.labels else None,
        "intensity": entry.intensity.model_dump(mode="json") if entry.intensity else None,
        "holds": asdict(entry.holds) if entry.holds else None,
        "prepared_from": PREPARERS[name].source if name in PREPARERS else None,
    }
