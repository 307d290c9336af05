"""`hidiff benchmark`: run a suite and keep its rows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hidiff.cli.errors import FAILED
from hidiff.cli.options import Device, DeviceOption, RayAddress, Threads, choose_device, use_threads
from hidiff.cli.say import error_console, say, show_failures

if TYPE_CHECKING:
    from hidiff.suites import Run
    from hidiff.suites.rows import Results

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
    ray: RayAddress = None,
) -> None:
    """Train and evaluate every recipe, seed and arm of a suite, and keep a row for each result.

    Evaluations that have a row are skipped, and an interrupted run continues: repeat the command.

    [dim]hidiff benchmark mine.yaml --list
    hidiff benchmark mine.yaml
    hidiff benchmark mine.yaml --ray auto --results /shared/results --runs /shared/runs[/dim]
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
    rows = read_results(results / content.name)
    try:
        if ray is None:
            run_suite(todo, rows, runs, choose_device(device), say)
        else:
            _run_on_ray(ray, todo, rows, runs, device, threads)
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


def _run_on_ray(
    address: str,
    todo: "list[Run]",
    rows: "Results",
    runs: Path,
    device: Device,
    threads: int | None,
) -> None:
    """Run a suite on a cluster; runs that fail are named in the end, and the others done."""
    import torch

    from hidiff.cluster import connect
    from hidiff.suites.on_ray import run_suite_on_ray

    ray = connect(address)
    try:
        graphics = device is Device.CUDA or (
            device is Device.AUTO and "GPU" in ray.cluster_resources()
        )
        where = torch.device("cuda" if graphics else "cpu")
        failures = run_suite_on_ray(ray, todo, rows, runs, where, threads or 1, say)
    finally:
        ray.shutdown()
    if failures:
        show_failures(failures)
        raise typer.Exit(FAILED)
