"""`hidiff train --check`: is the recipe valid, is every image readable, and what will it cost?"""

from collections.abc import Mapping
from pathlib import Path

from rich.progress import track
from rich.table import Table

from hidiff.cli.say import console, say
from hidiff.datasets import Case
from hidiff.datasets.splits import Split
from hidiff.experiment import Experiment, check_memory, estimate_memory, load_cases
from hidiff.experiment.cases import reading_of
from hidiff.images import DataError
from hidiff.loading import read_item
from hidiff.recipe import Recipe

MOST_SHOWN = 10  # bad files


def check_recipe(recipe: Recipe) -> None:
    """Print the plan of a recipe. Raises DataError with every case that does not read."""
    experiment = Experiment(recipe, Path(recipe.name), cpu=True)
    check_cases(recipe, [case for cases in experiment.splits.values() for case in cases])
    console.print(cases_table(experiment.splits))
    check_memory(experiment)
    # The images were read just now: keep none of them.
    uncached = recipe.model_copy(update={"data": recipe.data.model_copy(update={"cache": False})})
    load_cases(uncached, experiment.splits["train"])
    for name, network in (("segmentor", recipe.segmentor.name), ("refiner", recipe.refiner.width)):
        count = sum(p.numel() for p in getattr(experiment.hybrid, name).parameters())
        kind = f"{recipe.refiner.precision}, width {network}" if name == "refiner" else network
        say(f"{name:9} {kind}: {count / 1e6:.2f} M parameters")
    console.print(stages_table(experiment))
    say(f"memory    at least {estimate_memory(experiment)}")
    say("The recipe holds and every case reads. Train: the same command without --check.", "green")


def check_cases(recipe: Recipe, cases: list[Case]) -> None:
    """Read every image and mask once, as training does. Raises DataError that names all faults."""
    problems, reading = [], reading_of(recipe)
    for case in track(cases, "reading", console=console, transient=True):
        try:
            read_item(case, reading)  # as training does; nothing is kept
        except DataError as error:
            problems.append(str(error))
    if problems:
        more = len(problems) - MOST_SHOWN
        shown = problems[:MOST_SHOWN] + ([f"and {more} more"] if more > 0 else [])
        raise DataError(
            "\n  ".join([f"{len(problems)} of {len(cases)} cases do not read:", *shown])
        )


def cases_table(cases: Mapping[Split, list[Case]]) -> Table:
    table = Table("split", "cases", "groups", title_justify="left")
    for split, of_split in cases.items():
        table.add_row(split, str(len(of_split)), str(len({case.group for case in of_split})))
    return table


def stages_table(experiment: Experiment) -> Table:
    table = Table("stage", "steps", "GFLOP a step", "TFLOP in all")
    for stage, steps in experiment.stages.items():
        step, whole = experiment.budget.per_step[stage], experiment.budget.total(stage, steps)
        table.add_row(stage.name, str(steps), f"{step / 1e9:.1f}", f"{whole / 1e12:.1f}")
    return table
