"""The memory that training as a recipe says would need, told before it starts."""

import copy
import warnings

import torch
from torch import nn

from hidiff.experiment.cases import list_cases, priors_of
from hidiff.experiment.networks import refiner_of, segmentor_of
from hidiff.images import is_volume
from hidiff.loading import count_cache, count_volume_cache
from hidiff.recipe import Recipe
from hidiff.training import stage2_of
from hidiff.training.memory import MemoryNeed, count_activations, count_weights, gib, memory_of


def check_memory(recipe: Recipe, device: torch.device, own: nn.Module | None = None) -> None:
    """Raise ValueError for a recipe that cannot fit, warn of one that may not fit now."""
    try:
        need = estimate_memory(recipe, own)
    except RuntimeError:
        if own is None:
            raise
        return  # not every module of a user's own runs without the content of its tensors
    beside = MemoryNeed(0, 0, need.cache)
    on_device = MemoryNeed(need.weights, need.activations, 0, libraries=0)
    wanted = [("cuda", on_device), ("cpu", beside)] if device.type == "cuda" else [("cpu", need)]
    for kind, each in wanted:
        whole, free = memory_of(torch.device(kind))
        advice = (
            "Lower training.batch_size, or raise training.accumulation; lower data.patch_size or "
            "refiner.width; or set data.cache=disk."
        )
        if each.total > whole:
            raise ValueError(
                f"training as the recipe says needs at least {each}, but this machine has "
                f"{gib(whole)} ({kind}). {advice}"
            )
        if each.total > free:
            warnings.warn(
                f"training needs at least {each}, but {gib(free)} are free now ({kind}), so it "
                f"may end for want of memory. {advice}",
                stacklevel=2,
            )


def estimate_memory(recipe: Recipe, own: nn.Module | None = None) -> MemoryNeed:
    """What training needs at the least; nothing of it is allocated."""
    with torch.device("meta"):
        segmentor = segmentor_of(recipe, own if own is None else copy.deepcopy(own).to("meta"))
        refiner = refiner_of(recipe, segmentor)
    settings, data = recipe.training, recipe.data
    stage = stage2_of(settings)
    part = max(settings.batch_size // settings.accumulation, 1)
    return MemoryNeed(
        weights=count_weights(segmentor, refiner, stage),
        activations=count_activations(
            segmentor,
            refiner,
            # the budget is counted on two patches, whatever the batch
            num_images=max(part, 2),
            channels=segmentor.image_channels,
            planes=recipe.labels.num_planes,
            patch_size=data.patch_size,
            stage=stage,
        ),
        cache=_count_cache(recipe) if data.cache is True else 0,
    )


def _count_cache(recipe: Recipe) -> int:
    data, planes = recipe.data, recipe.labels.num_planes
    channels = data.channels + (planes if priors_of(recipe) else 0)
    cases = list_cases(recipe, "train")
    if any(is_volume(case.image) for case in cases):
        return count_volume_cache(cases, data.channels, planes, data.slicing, data.size)
    return count_cache(cases, channels, planes, data.size)
