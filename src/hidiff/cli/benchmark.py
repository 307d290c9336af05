"""`hidiff benchmark`: run a suite and keep its rows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hidiff.cli.options import Device, DeviceOption, Threads, choose_device, use_threads
from hidiff.cli.say import error_console, say

if TYPE_CHECKING:
    from hidiff.suites import Run

INTERRUPTED = 130  # exit code, as shells have it for Ctrl-C


def benchmark(
    suite: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="The suite, a YAML file."),
    ],
    results: Annotated[
        Path, typer.Option("--results", help="Write rows to RESULTS/SUITE/rows.jsonl.")
    ] = Path("results"),
    runs: Annotated[
        Path, typer.Option("--runs", help="Folder of trained models, shared by all suites.")
    ] = Path("runs/benchmark"),
    only_list: Annotated[
        bool, typer.Option("--list", help="Only list the runs of the suite.")
    ] = False,
    device: DeviceOption = Device.AUTO,
    threads: Threads = None,
) -> None:
    """Train and evaluate every recipe, seed and arm of a suite; keep one row for each.

    Evaluations that have a row are skipped, and an interrupted run continues: repeat the command.

    [dim]hidiff benchmark mine.yaml --list
    hidiff benchmark mine.yaml[/dim]
    """
    from hidiff.cli.recipes import find_recipe
    from hidiff.suites import list_runs, read_results, read_suite, run_suite

    use_threads(threads)
    content = read_suite(suite)
    todo = list_runs(content, suite, find_recipe)
    if only_list:
        for run in todo:
            say(describe_run(run))
        return
    where = choose_device(device)
    try:
        run_suite(todo, read_results(results / content.name), runs, where, say)
    except KeyboardInterrupt:
        error_console.print("Stopped. The same command goes on from here.", markup=False)
        raise typer.Exit(INTERRUPTED) from None
    say(f"Rows: {results / content.name / 'rows.jsonl'}")


def describe_run(run: "Run") -> str:
    """Return what a run is evaluated on, and the rates that it chooses from."""
    line = f"{run.name}: evaluated on {', '.join(run.evaluations)}"
    if not run.rates:
        return line
    return f"{line}, at the best of the rates {', '.join(f'{rate:g}' for rate in run.rates)}"
