"""The commands of `hidiff`, by name."""

from typing import Annotated

import typer

from hidiff._version import __version__
from hidiff.cli.adapt import adapt
from hidiff.cli.benchmark import benchmark
from hidiff.cli.correct import correct
from hidiff.cli.data import data
from hidiff.cli.demo import demo
from hidiff.cli.errors import ClearErrors
from hidiff.cli.evaluate import evaluate
from hidiff.cli.export import export
from hidiff.cli.info import info
from hidiff.cli.models import models
from hidiff.cli.pack import pack
from hidiff.cli.predict import predict
from hidiff.cli.published import import_published
from hidiff.cli.push import push
from hidiff.cli.refine import refine
from hidiff.cli.serve import app as browser_app
from hidiff.cli.serve import serve
from hidiff.cli.settings import settings
from hidiff.cli.threads import wait_briefly
from hidiff.cli.train import train

app = typer.Typer(
    name="hidiff",
    cls=ClearErrors,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="[bold]hidiff COMMAND --help[/bold] tells more, with examples. Begin with "
    "[bold]hidiff demo[/bold].",
)
for panel, commands in {
    "Use": (predict, models, refine, evaluate, info),
    "Correct": (browser_app, correct, serve),
    "Train": (demo, train, adapt, settings, pack, export, push),
    "Research": (benchmark, import_published),
}.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(data, name="data", rich_help_panel="Train")


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"hidiff {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def hidiff(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Segment medical images, refine the masks with a small diffusion model, and correct them."""


def main() -> None:
    """Run the command line; the entry point of `hidiff`."""
    wait_briefly()
    app()
