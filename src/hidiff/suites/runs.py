"""A suite's runs: each a recipe to train, and the stage 1 that it shares with others."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hidiff.datasets import CATALOG
from hidiff.recipe import Recipe, change_recipe, make_recipe, read_recipe
from hidiff.suites.suite import HYBRID, SEGMENTOR_ONLY, STAGE1, Evaluation, Suite, SuiteError

# What stage 1 reads of the settings of training; whatever else an arm changes, it shares stage 1.
STAGE1_TRAINING = (
    "batch_size",
    "accumulation",
    "stage1_steps",
    "stage1_rate",
    "weight_decay",
    "decay_power",
    "clip_norm",
    "mixed_precision",
    "save_every",
    "log_every",
    "workers",
)
# A recipe that says no more than it must: what rows were made with that do not say more.
DEFAULTS = make_recipe(
    {
        "name": "least",
        "data": {"path": "unused"},
        "labels": {"kind": "one_class", "classes": {"unused": [1]}},
    }
).model_dump(mode="json")
DEFAULTS["training"]["last_step_share"] = 0.0  # before it was a setting
DEFAULTS["data"]["outside_field_of_view"] = "ignored"  # likewise


@dataclass(frozen=True)
class Run:
    """One arm of one recipe and seed."""

    suite: str
    data: str
    """the name that its recipe goes by in the suite"""
    arm: str
    changes: Mapping[str, Any]
    """of the arm"""
    seed: int
    stage1: Recipe
    came: bool
    """stage 1 is trained by another recipe, on its data"""
    recipe: Recipe
    """of what it is judged as; of the arm stage1 nothing but stage 1 is trained"""
    evaluations: Mapping[str, Evaluation]
    sizes: str | None

    @property
    def name(self) -> str:
        return f"{self.data}, {self.arm}, seed {self.seed}"

    @property
    def start(self) -> tuple[str, ...]:
        """Of its hashes, which do not see where weights lie: another recipe's stage 1, if so."""
        return (recipe_hash(self.stage1),) if self.came else ()


def list_runs(suite: Suite, file: Path, find_recipe: Callable[[Path], Path]) -> list[Run]:
    """Every run of a suite, in its order; recipes are looked for beside the suite's `file` first.

    A seed of all recipes comes before the next seed. Raises RecipeError or SuiteError.
    """
    runs = []
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
                runs.append(
                    Run(
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
                    )
                )
    return runs


def _find(recipe: str, file: Path, find_recipe: Callable[[Path], Path]) -> Path:
    beside = file.parent / recipe
    return beside if beside.is_file() else find_recipe(Path(recipe))


def arm_recipe(base: Recipe, arm: str, changes: Mapping[str, Any]) -> Recipe:
    """The recipe as an arm has it."""
    if arm == STAGE1:
        return stage1_of(base).model_copy(update={"prediction": base.prediction})
    kind = SEGMENTOR_ONLY if arm == SEGMENTOR_ONLY else HYBRID
    return change_recipe(base, [f"training.arm={kind}", *as_words(changes)])


def stage1_of(recipe: Recipe) -> Recipe:
    """The recipe of the segmentor alone: what it leaves to its defaults, stage 1 does not read."""
    content = recipe.model_dump(mode="json")
    training = {name: content["training"][name] for name in STAGE1_TRAINING}
    kept = {name: content[name] for name in ("name", "seed", "data", "labels", "segmentor")}
    # the least of refiners, as it is made and counted, but not trained
    refiner = {"width": 8, "condition": "once"}
    return make_recipe({**kept, "refiner": refiner, "training": {**training, "stage2_steps": 0}})


def judged_recipe(run: Run, evaluation: Evaluation) -> Recipe:
    """The recipe as one evaluation has it: other data, or more work."""
    changes = {
        f"{group}.{name}": value
        for group in ("data", "prediction")
        for name, value in getattr(evaluation, group).items()
    }
    return change_recipe(run.recipe, as_words(changes)) if changes else run.recipe


def recipe_hash(recipe: Recipe, *more: Any) -> str:
    """Of every setting that differs from its default, but the name and where stage 1's weights lie.

    So rows stay what they are when a new setting appears. Of a default that changes its value,
    DEFAULTS keeps the former one, so that the rows of both are told apart.
    """
    content = recipe.model_dump(mode="json")
    del content["name"]
    del content["segmentor"]["weights"]
    if recipe.training.arm == SEGMENTOR_ONLY or recipe.training.stage2_steps == 0:
        del content["training"]["last_step_share"]  # no refiner, no t
    if not CATALOG[recipe.data.source].fields_of_view:
        del content["data"]["outside_field_of_view"]
    text = json.dumps([unlike(content, DEFAULTS), *more], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def unlike(content: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """What of nested settings is not as in the default."""
    found = {}
    for name, value in content.items():
        other = default.get(name)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            value, other = unlike(value, other), {}
        if name not in default or value != other:
            found[name] = value
    return found


def as_words(changes: Mapping[str, Any]) -> list[str]:
    """Changes as `change_recipe` takes them; JSON is YAML too."""
    return [f"{name}={json.dumps(value)}" for name, value in changes.items()]
