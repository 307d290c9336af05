"""The memory that a training needs, known before it starts."""

import copy
import warnings

import torch

from hidiff.experiment.cases import reading_of
from hidiff.experiment.experiment import Experiment
from hidiff.experiment.networks import refiner_of, segmentor_of
from hidiff.loading import count_cache
from hidiff.training import stage2_of
from hidiff.training.memory import MemoryNeed, count_activations, count_weights, gib, memory_of


def check_memory(experiment: Experiment) -> None:
    """Raise ValueError if a training cannot fit the machine, and warn if it may not fit now."""
    try:
        need = estimate_memory(experiment)
    except RuntimeError:
        if experiment.segmentor is None:
            raise
        return  # not every module of a user's own runs without the content of its tensors
    beside = MemoryNeed(0, 0, need.cache)
    on_device = MemoryNeed(need.weights, need.activations, 0, libraries=0)
    on_gpu = experiment.device.type == "cuda"
    for device, part in [("cuda", on_device), ("cpu", beside)] if on_gpu else [("cpu", need)]:
        whole, free = memory_of(torch.device(device))
        advice = (
            "Lower training.batch_size, or raise training.accumulation; lower data.patch_size or "
            "refiner.width; or set data.cache=disk."
        )
        if part.total > whole:
            raise ValueError(
                f"training as the recipe says needs at least {part}, but this machine has "
                f"{gib(whole)} ({device}). {advice}"
            )
        if part.total > free:
            warnings.warn(
                f"training needs at least {part}, but {gib(free)} are free now ({device}), so it "
                f"may end for want of memory. {advice}",
                stacklevel=2,
            )


def estimate_memory(experiment: Experiment) -> MemoryNeed:
    """Return what a training needs at the least; nothing of it is allocated."""
    recipe, own = experiment.recipe, experiment.segmentor
    with torch.device("meta"):
        segmentor = segmentor_of(recipe, own if own is None else copy.deepcopy(own).to("meta"))
        refiner = refiner_of(recipe, segmentor)
    settings, data, stage = recipe.training, recipe.data, stage2_of(recipe.training)
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
        cache=count_cache(experiment.splits["train"], reading_of(recipe))
        if data.cache is True
        else 0,
    )
