"""`hidiff benchmark` and `hidiff results`: a suite to rows, and rows to a page."""

from pathlib import Path
from typing import Annotated

import typer

from hidiff.cli.options import Device, DeviceOption, Threads, choose_device, use_threads
from hidiff.cli.say import error_console, say

INTERRUPTED = 130  # exit code, as shells have it for Ctrl-C

ResultsFolder = Annotated[
    Path, typer.Option("--results", help="Rows go to RESULTS/SUITE/rows.jsonl.")
]


def benchmark(
    suite: Annotated[
        Path,
        typer.Argument(help="A YAML file, or the name of a suite that comes with HiDiff."),
    ],
    results: ResultsFolder = Path("results"),
    runs: Annotated[
        Path, typer.Option("--runs", help="The folder of trained models, which suites share.")
    ] = Path("runs/benchmark"),
    page: Annotated[
        Path | None,
        typer.Option("--page", help="Write this page, of all suites in RESULTS, in the end."),
    ] = None,
    only_list: Annotated[
        bool, typer.Option("--list", help="Only say which runs the suite has.")
    ] = False,
    device: DeviceOption = Device.AUTO,
    threads: Threads = None,
) -> None:
    """Train and judge every recipe, seed and arm of a suite, and keep a row of each.

    What has its row already is skipped, and what was cut off goes on: give the same command again.

    [dim]hidiff benchmark main
    hidiff benchmark main --list
    hidiff benchmark mine.yaml --page docs/results.md[/dim]
    """
    from hidiff.cli.recipes import find_recipe
    from hidiff.suites import find_suite, list_runs, read_results, read_suite, run_suite

    use_threads(threads)
    file = find_suite(suite)
    wanted = read_suite(file)
    todo = list_runs(wanted, file, find_recipe)
    if only_list:
        for run in todo:
            say(f"{run.name}: judged on {', '.join(run.evaluations)}")
        return
    where = choose_device(device)
    try:
        run_suite(todo, read_results(results / wanted.name), runs, where, say)
    except KeyboardInterrupt:
        error_console.print("Stopped. The same command goes on from here.", markup=False)
        raise typer.Exit(INTERRUPTED) from None
    say(f"Rows: {results / wanted.name / 'rows.jsonl'}")
    if page is not None:
        make_page(results, page)


def results(
    folder: ResultsFolder = Path("results"),
    page: Annotated[Path, typer.Option("--page", help="The page, in Markdown.")] = Path(
        "docs/results.md"
    ),
) -> None:
    """Make the page of results, with every table, figure and verdict, from the rows alone.

    [dim]hidiff results
    hidiff results --results mine --page mine.md[/dim]
    """
    make_page(folder, page)


def make_page(folder: Path, page: Path) -> None:
    from hidiff.suites import find_results, write_page

    write_page(find_results(folder), page)
    say(f"Page: {page}")
