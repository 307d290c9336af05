"""The runs of a suite: each is a recipe to train, and the stage 1 that it shares with others."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hidiff.recipe import Recipe, change_recipe, read_recipe
from hidiff.suites.identity import stage1_arm, stage1_of
from hidiff.suites.suite import HYBRID, SEGMENTOR_ONLY, STAGE1, Evaluation, Suite, SuiteError
from hidiff.training.stages import stage2_of

RATE = "training.segmentor_rate"


@dataclass(frozen=True)
class Run:
    """One arm of one recipe and seed."""

    suite: str
    data: str
    """the name of its recipe in the suite"""
    arm: str
    changes: Mapping[str, Any]
    """the settings that the arm changes"""
    seed: int
    stage1: Recipe
    came: bool
    """true if stage 1 is trained by another recipe, on that recipe's data"""
    recipe: Recipe
    """the recipe that is trained; the arm stage1 trains nothing but stage 1"""
    evaluations: Mapping[str, Evaluation]
    sizes: str | None
    rates: tuple[float, ...] = ()
    """the segmentor's rates in stage 2 to choose from; empty: the recipe's is the one"""
    first: "Run | None" = None
    """the run of the first seed, whose best rate this one takes over; None: it is the first"""
    tried: Mapping[str, float] = field(default_factory=dict)
    """the mean Dice on validation cases of each rate that the run's was chosen from"""

    @property
    def name(self) -> str:
        return f"{self.data}, {self.arm}, seed {self.seed}"


def list_runs(suite: Suite, file: Path, find_recipe: Callable[[Path], Path]) -> list[Run]:
    """Return every run of a suite, all recipes of one seed before the next seed.

    A recipe's file is searched beside the suite's `file` first, then by `find_recipe`. Raises
    RecipeError or SuiteError.
    """
    runs: list[Run] = []
    firsts: dict[tuple[str, str], Run] = {}
    seeds = dict.fromkeys(
        seed for each in suite.recipes.values() for seed in each.seeds or suite.seeds
    )
    for seed in seeds:
        for data, each in suite.recipes.items():
            if seed not in (each.seeds or suite.seeds):
                continue
            place = _find(each.recipe, file, find_recipe)
            base = read_recipe(place, [*as_words(each.changes), f"seed={seed}"])
            if base.segmentor.weights or base.training.start_from:
                raise SuiteError(
                    f"{file}: recipes.{data} starts from trained weights ({place}), but a suite "
                    "trains stage 1 itself. Leave segmentor.weights and training.start_from out."
                )
            first = None
            if each.stage1:
                place = _find(each.stage1, file, find_recipe)
                first = read_recipe(place, [*as_words(each.stage1_changes), f"seed={seed}"])
                if first.segmentor != base.segmentor:
                    raise SuiteError(
                        f"{file}: recipes.{data} brings the segmentor {first.segmentor.name} from "
                        f"{place}, but its own is {base.segmentor.name}, or has other options. "
                        "Give both the same."
                    )
            for arm in each.arms or suite.arms:
                recipe = arm_recipe(base, arm, suite.arms[arm])
                evaluations = {
                    name: evaluation
                    for name, evaluation in each.all_evaluations.items()
                    if evaluation.arms is None or arm in evaluation.arms
                }
                run = Run(
                    suite.name,
                    data,
                    arm,
                    suite.arms[arm],
                    seed,
                    stage1_of(first or recipe),
                    first is not None,
                    recipe,
                    evaluations,
                    each.sizes,
                    each.rates if has_choice(recipe, arm, suite.arms[arm]) else (),
                    firsts.get((data, arm)),
                )
                firsts.setdefault((data, arm), run)
                runs.append(run)
    return runs


def _find(recipe: str, file: Path, find_recipe: Callable[[Path], Path]) -> Path:
    beside = file.parent / recipe
    return beside if beside.is_file() else find_recipe(Path(recipe))


def arm_recipe(base: Recipe, arm: str, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe with an arm's changes."""
    if arm == STAGE1:
        return stage1_arm(base)
    kind = SEGMENTOR_ONLY if arm == SEGMENTOR_ONLY else HYBRID
    return change_recipe(base, [f"training.arm={kind}", *as_words(changes)])


def has_choice(recipe: Recipe, arm: str, changes: Mapping[str, Any]) -> bool:
    """Return whether an arm trains the segmentor in stage 2, at a rate that it leaves open."""
    if arm == STAGE1 or RATE in changes:
        return False
    return arm == SEGMENTOR_ONLY or stage2_of(recipe.training).trains_segmentor


def judged_recipe(run: Run, evaluation: Evaluation) -> Recipe:
    """Return the recipe with an evaluation's changes of data and prediction."""
    changes = {
        f"{group}.{name}": value
        for group in ("data", "prediction")
        for name, value in getattr(evaluation, group).items()
    }
    return change_recipe(run.recipe, as_words(changes)) if changes else run.recipe


def as_words(changes: Mapping[str, Any]) -> list[str]:
    """Return changes in the form that `change_recipe` takes; JSON is valid YAML."""
    return [f"{name}={json.dumps(value)}" for name, value in changes.items()]
