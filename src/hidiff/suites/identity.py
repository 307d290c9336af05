"""The identity of experiments, by which rows and trained models are found again."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from hidiff.recipe import Recipe, RecipeError, make_recipe
from hidiff.suites.suite import STAGE1
from hidiff.training import stages

Content = dict[str, Any]


def identify(recipe: Recipe) -> Content:
    """Return every setting, as JSON, but the name and where trained weights lie."""
    content = recipe.model_dump(mode="json")
    del content["name"]
    del content["segmentor"]["weights"]
    return content


def identify_run(recipe: Recipe, stage1: Recipe, arm: str) -> list[Content]:
    """Return the identity of an arm's recipe, and that of the recipe of its stage 1.

    Settings that do not matter take today's defaults: those of the refiner for the arm stage1, and
    those of stage 2 for stage 1's recipe.
    """
    if arm == STAGE1:
        recipe = stage1_arm(recipe)
    return [identify(recipe), identify(stage1_of(stage1))]


def read_identity(recipe: Content, stage1: Content, arm: str) -> list[Content] | None:
    """Return the same for stored recipes, or None if today's settings refuse one of them.

    A setting that is younger than the stored recipe takes its default.
    """
    try:
        return identify_run(make_recipe(recipe), make_recipe(stage1), arm)
    except RecipeError:
        return None


def stage1_of(recipe: Recipe) -> Recipe:
    """Return the recipe of the segmentor alone; what stage 1 does not read has its default."""
    content = recipe.model_dump(mode="json", exclude={"refiner", "diffusion", "prediction"})
    training = {name: content["training"][name] for name in stages.STAGE1.settings_read}
    # A run needs a refiner even if it does not train it, so it gets the smallest one.
    content["refiner"] = {"width": 8, "condition": "once"}
    return make_recipe({**content, "training": {**training, "stage2_steps": 0}})


def stage1_arm(recipe: Recipe) -> Recipe:
    """Return the recipe of stage 1 that predicts like the given one."""
    return stage1_of(recipe).model_copy(update={"prediction": recipe.prediction})


def digest(*contents: Mapping[str, Any]) -> str:
    """Return the SHA-256 of settings as JSON with sorted names."""
    text = json.dumps(contents[0] if len(contents) == 1 else contents, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
