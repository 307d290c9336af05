"""Recipe -> networks, untrained."""

import warnings
from typing import Any

import torch
from torch import nn

from hidiff import seeding
from hidiff.hybrid import HybridSegmentor
from hidiff.images import Intensity
from hidiff.recipe import Recipe
from hidiff.refiner import Refiner
from hidiff.segmentors import (
    FILES,
    PriorFromFiles,
    Segmentor,
    adopt,
    input_size,
    make_segmentor,
    own_settings,
)


def make_hybrid(recipe: Recipe, segmentor: nn.Module | None = None) -> HybridSegmentor:
    """Make the untrained networks of a recipe; the same seed gives the same weights.

    `segmentor` is the user's own module, for a recipe that says so; it is used itself.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.derive(recipe.seed, "weights"))
        found = segmentor_of(recipe, segmentor)
        refiner = refiner_of(recipe, found)
    return HybridSegmentor(found, refiner, recipe.labels, recipe.diffusion)


def segmentor_of(recipe: Recipe, own: nn.Module | None = None) -> Any:
    """Make the segmentor of a recipe.

    It is an nn.Module and a Segmentor, for which Python has no common type.
    """
    channels, patch = recipe.data.image_channels, recipe.data.patch_size
    if recipe.segmentor.name == FILES:
        labels = recipe.labels
        return PriorFromFiles(channels, labels.num_planes, labels.kind == "exclusive")
    if own is None:
        segmentor = make_segmentor(recipe.segmentor, channels, recipe.labels.num_planes)
    else:
        segmentor = adopt(own, recipe.segmentor, channels)
    warn_of_intensity(segmentor, recipe.data.intensity)
    size, window = input_size(segmentor), recipe.prediction.window_size
    for name, looks in (("data.patch_size", patch), ("prediction.window_size", window)):
        if size is not None and looks is not None and size != looks:
            raise ValueError(
                f"{name} is {looks[0]}x{looks[1]}, but the segmentor takes images of "
                f"{size[0]}x{size[1]} only. Set {name} to that."
            )
    return segmentor


def refiner_of(recipe: Recipe, segmentor: Segmentor) -> Refiner:
    """Make the refiner of a recipe, which reads this segmentor's features."""
    planes, features = recipe.labels.num_planes, segmentor.feature_channels
    return Refiner(segmentor.image_channels, planes, features, recipe.refiner)


def with_own(recipe: Recipe, module: nn.Module | None) -> tuple[Recipe, nn.Module | None]:
    """Return a user's own module as a segmentor, and the recipe that names it."""
    if module is None:
        return recipe, None
    segmentor = adopt(module, recipe.segmentor, recipe.data.image_channels)
    settings = own_settings(segmentor, recipe.segmentor)
    return recipe.model_copy(update={"segmentor": settings}), segmentor


def warn_of_intensity(segmentor: nn.Module, intensity: Intensity) -> None:
    """Warn where a segmentor that says what it was trained on would get other images."""
    trained_on = getattr(segmentor, "trained_on", None)
    if trained_on is None:
        return
    wanted = trained_on.intensity
    if intensity.model_dump(include=set(wanted)) != wanted:
        spacing = " x ".join(f"{side:g}" for side in trained_on.spacing_mm)
        warnings.warn(
            f"the segmentor was trained on images of intensity {wanted} at {spacing} mm, but "
            f"data.intensity is of kind {intensity.kind}. Set it to that, and give images of that "
            "spacing.",
            stacklevel=2,
        )
