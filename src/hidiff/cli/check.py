"""`hidiff train --check`: does the recipe hold, does every image read, and what will it cost?"""

from collections.abc import Mapping
from pathlib import Path

from rich.progress import track
from rich.table import Table

from hidiff import experiment
from hidiff.cli.say import console, say
from hidiff.datasets import Case
from hidiff.datasets.splits import Split
from hidiff.images import DataError, is_volume
from hidiff.loading import load_case, load_volume, load_volume_mask
from hidiff.recipe import Recipe
from hidiff.training import Trainer

MOST_SHOWN = 10  # bad files


def check_recipe(recipe: Recipe) -> None:
    """Print the plan of a recipe. Raises DataError with every case that does not read."""
    cases = experiment.list_splits(recipe)
    check_cases(recipe, [case for each in cases.values() for case in each])
    console.print(cases_table(cases))
    # The images were read just now: keep none of them.
    uncached = recipe.model_copy(update={"data": recipe.data.model_copy(update={"cache": False})})
    trainer = experiment.make_trainer(uncached, Path(), cpu=True, validate=False)
    for name, network in (("segmentor", recipe.segmentor.name), ("refiner", recipe.refiner.width)):
        count = sum(p.numel() for p in getattr(trainer.hybrid, name).parameters())
        kind = f"{recipe.refiner.precision}, width {network}" if name == "refiner" else network
        say(f"{name:9} {kind}: {count / 1e6:.2f} M parameters")
    console.print(stages_table(trainer))
    say(f"memory    at least {experiment.estimate_memory(recipe)}")
    say("The recipe holds and every case reads. Train: the same command without --check.", "green")


def check_cases(recipe: Recipe, cases: list[Case]) -> None:
    """Read every image and mask once."""
    problems = []
    for case in track(cases, "reading", console=console, transient=True):
        try:
            read_case(recipe, case)
        except DataError as error:
            problems.append(str(error))
    if problems:
        more = len(problems) - MOST_SHOWN
        shown = problems[:MOST_SHOWN] + ([f"and {more} more"] if more > 0 else [])
        raise DataError(
            "\n  ".join([f"{len(problems)} of {len(cases)} cases do not read:", *shown])
        )


def read_case(recipe: Recipe, case: Case) -> None:
    """Read a case as training does, and forget it."""
    data = recipe.data
    if is_volume(case.image):
        volume = load_volume(case.image, data.channels, data.intensity, data.plane)
        load_volume_mask(case, volume.grid, recipe.labels, data.plane)
    else:
        load_case(case, recipe.labels, data.channels, data.intensity, data.size)


def cases_table(cases: Mapping[Split, list[Case]]) -> Table:
    table = Table("split", "cases", "groups", title_justify="left")
    for split, each in cases.items():
        table.add_row(split, str(len(each)), str(len({case.group for case in each})))
    return table


def stages_table(trainer: Trainer) -> Table:
    table = Table("stage", "steps", "GFLOP a step", "TFLOP in all")
    for stage, steps in trainer.stages.items():
        step, whole = trainer.budget.per_step[stage], trainer.flops(stage)
        table.add_row(stage.name, str(steps), f"{step / 1e9:.1f}", f"{whole / 1e12:.1f}")
    return table
