"""The plan for a data folder as it will run: with the settings that the user changed."""

from collections.abc import Sequence
from typing import Any

from hidiff.plan import Choice, Plan
from hidiff.recipe import Recipe

SET = "set on the command line"
# Rows of the plan that are not called as their setting in the recipe.
STEPS = ("training.stage1_steps", "training.stage2_steps")


def changed_choices(plan: Plan, recipe: Recipe, changes: Sequence[str]) -> list[Choice]:
    """Return the rows of a plan with the values of `recipe`, in which `changes` were made.

    A change of a setting that the plan says nothing about becomes a row of its own.
    """
    names = [change.partition("=")[0].strip() for change in changes]
    rows = []
    for choice in plan.choices:
        own = [name for name in names if _is_about(choice.setting, name)]
        names = [name for name in names if name not in own]
        value = choice.value if not own else _value(choice.setting, own, recipe)
        rows.append(Choice(choice.setting, value, SET if own else choice.reason))
    return [*rows, *(Choice(name, _shown(recipe, name), SET) for name in dict.fromkeys(names))]


def _is_about(row: str, name: str) -> bool:
    """Return whether a setting's dotted name is what a row of the plan shows, or a part of it."""
    if row == "training":
        return name in STEPS
    return any(
        name == setting or name.startswith(f"{setting}.") for setting in (row, f"data.{row}")
    )


def _value(row: str, names: Sequence[str], recipe: Recipe) -> str:
    if row == "training":
        return f"{recipe.training.stage1_steps} + {recipe.training.stage2_steps} steps"
    if row == "labels":
        return f"{recipe.labels.kind}: {', '.join(recipe.labels.class_names)}"
    return ", ".join(
        _shown(recipe, name) if name in (row, f"data.{row}") else
        f"{name.rpartition('.')[2]} {_shown(recipe, name)}"
        for name in names
    )  # fmt: skip


def _shown(recipe: Recipe, name: str) -> str:
    value: Any = recipe.model_dump(mode="json")
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)
