"""`hidiff train FOLDER`: looks at the data, proposes a recipe and says why."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from hidiff.cli.changed_plan import changed_choices
from hidiff.cli.progress import progress_bar
from hidiff.cli.recipes import find_recipe
from hidiff.cli.say import console, say
from hidiff.datasets import Splitting
from hidiff.experiment import RECIPE_FILE
from hidiff.images.voxels import Nan
from hidiff.loading import DataSettings
from hidiff.plan import Choice, Plan, look_at, run_name
from hidiff.recipe import (
    Recipe,
    RecipeError,
    change_recipe,
    read_changes,
    read_recipe,
    write_recipe,
)


def find_or_plan(
    recipe: Path, changes: Sequence[str], *, begun_in: Path | None, cpu: bool = False
) -> Recipe:
    """Return the recipe with this name or in this file; for a data folder, propose one.

    If a run below `begun_in` was started before, its plan is used again. `cpu` means that the run
    uses no GPU.
    """
    if not recipe.is_dir():
        return read_recipe(find_recipe(recipe), changes)
    begun = begun_in / run_name(recipe) / RECIPE_FILE if begun_in else None
    if begun is not None and begun.is_file():
        return read_recipe(begun, changes)
    return plan_folder(recipe, changes, cpu=cpu)


def plan_folder(folder: Path, changes: Sequence[str], *, cpu: bool = False) -> Recipe:
    """Print the plan for a data folder; the recipe, with the user's own changes made to it."""
    splitting, labels, nan = given_settings(changes)
    with progress_bar() as bar:

        def begin(count: int) -> Callable[[], object]:
            task = bar.add_task("looking at the data", total=count)
            return lambda: bar.advance(task)

        plan = look_at(folder, splitting, begin, known=labels, nan=nan)
    recipe = change_recipe(plan.recipe, changes)
    choices = [*changed_choices(plan, recipe, changes), *time_choice(recipe, cpu=cpu)]
    console.print(plan_table(plan, choices))
    return recipe


def time_choice(recipe: Recipe, *, cpu: bool) -> list[Choice]:
    """Return a row with the minutes that the recipe would train here; none if nobody can know."""
    from hidiff.experiment import estimate_duration

    try:
        duration = estimate_duration(recipe, cpu=cpu)
    except (ImportError, ValueError, MemoryError, RuntimeError):
        return []  # training refuses such a recipe in words of its own
    each = " and ".join(f"{duration.seconds[stage]:.2g} s" for stage in duration.steps)
    reason = f"a step of each stage was timed on this machine: {each}; without validation"
    return [Choice("time", f"about {_time(duration.minutes)}", reason)]


def _time(minutes: float) -> str:
    return f"{max(minutes, 1):.0f} min" if minutes < 90 else f"{minutes / 60:.1f} hours"


def given_settings(changes: Sequence[str]) -> tuple[Splitting, dict[str, Any], Nan]:
    """Return what changes say of splitting, labels and NaN, which bears on how a folder is read."""
    settings = read_changes(changes)
    data = settings.get("data") or {}
    splitting, labels = data.get("splitting") or {}, settings.get("labels") or {}
    if not (isinstance(splitting, dict) and isinstance(labels, dict)):
        raise RecipeError("--set data.splitting and --set labels want a setting, as labels.ignore")
    nan = DataSettings(path=".", nan=data.get("nan", "refused")).nan
    return Splitting.model_validate(splitting), labels, nan


def check_runs(recipe: Recipe) -> None:
    """Raise ValueError for a recipe whose cases, priors or networks cannot be had.

    A recipe is written only after this, so that training with it does not fail for them.
    """
    import torch

    from hidiff.experiment import list_splits
    from hidiff.experiment.networks import refiner_of, segmentor_of

    list_splits(recipe)
    with torch.device("meta"):  # sizes without memory
        refiner_of(recipe, segmentor_of(recipe))


def save_recipe(recipe: Recipe, output: Path, *, overwrite: bool) -> None:
    """Write the recipe beside where its run will lie, to be edited."""
    file = output / f"{recipe.name}.yaml"
    if file.exists() and not overwrite:
        raise FileExistsError(f"{file} exists already. Train with it, or replace it: --overwrite.")
    check_runs(recipe)
    output.mkdir(parents=True, exist_ok=True)
    write_recipe(recipe, file)
    say(f"Recipe: {file}")
    say(f"Train:  hidiff train {shlex.quote(str(file))}")


def plan_table(plan: Plan, choices: Sequence[Choice]) -> Table:
    """Return the table of a plan's choices, with the reason of each."""
    table = Table("setting", "value", "because", title=f"Plan for {plan.recipe.data.path}")
    for choice in choices:
        table.add_row(choice.setting, choice.value, choice.reason)
    return table
