"""The start of a run: trained weights that its recipe names, or random ones."""

import warnings
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from hidiff.experiment.models import open_model
from hidiff.hybrid import HybridSegmentor
from hidiff.recipe import Recipe
from hidiff.refiner import Refiner
from hidiff.segmentors import FILES, OWN, load_pretrained
from hidiff.training import TrainingSettings, load_model, stage2_of

HINT_WEIGHT = "refiner.hint_input.weight"  # its name in a checkpoint


def effective_settings(recipe: Recipe) -> TrainingSettings:
    """Return the training settings, without stage 1 if the segmentor comes trained."""
    trained = recipe.segmentor.weights or recipe.training.start_from
    return recipe.training.model_copy(update={"stage1_steps": 0} if trained else {})


def with_hint_planes(tensors: Mapping[str, Tensor], refiner: nn.Module) -> Mapping[str, Tensor]:
    """Return a checkpoint's tensors, with weights of zero for hint planes that only `refiner` has.

    So a refiner that was trained without hints can learn them. Raises ValueError for a checkpoint
    with hint planes and a refiner without.
    """
    assert isinstance(refiner, Refiner)
    layer = refiner.hint_input
    if layer is not None:
        return {HINT_WEIGHT: torch.zeros_like(layer.weight), **tensors}
    if HINT_WEIGHT in tensors:
        raise ValueError(
            "its refiner was trained with hint planes, but refiner.hints is false. Set it to true."
        )
    return tensors


def load_start(recipe: Recipe, hybrid: HybridSegmentor, say: Callable[[str], object]) -> None:
    """Load the weights that the recipe names."""
    if recipe.training.start_from:
        model = open_model(recipe.training.start_from)
        if model.packed:
            raise ValueError(
                f"training.start_from, {model.path}: a packed model cannot be trained. Give the "
                "checkpoint that it was packed from."
            )
        try:
            tensors = with_hint_planes(model.tensors, hybrid.refiner)
            load_model(tensors, hybrid.segmentor, hybrid.refiner)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"training.start_from, {model.path}: {error}") from error
    elif recipe.segmentor.weights:
        file, partial = recipe.segmentor.weights, recipe.segmentor.partial
        match = load_pretrained(hybrid.segmentor, file, partial)
        say(f"segmentor.weights, {file}: {match}")
    elif recipe.segmentor.name not in (OWN, FILES) and (
        not stage2_of(recipe.training).trains_segmentor
    ):
        warnings.warn(
            f"the segmentor {recipe.segmentor.name} is frozen, and neither segmentor.weights nor "
            "training.start_from says where its trained weights lie. Unless its options do, the "
            "masks of random weights are refined.",
            stacklevel=2,
        )
