"""The cases of a recipe: listed by split, loaded as the networks see them, dealt in batches."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.utils.data import DataLoader

from hidiff import seeding
from hidiff.datasets import Case, MissingSplit, load_split
from hidiff.datasets.splits import SPLITS, Split
from hidiff.images import Priors, find_prior
from hidiff.loading import (
    PLANES,
    Draws,
    LoadedCases,
    Reading,
    TrainingPatches,
    collate,
    segmentor_input,
)
from hidiff.recipe import Recipe
from hidiff.segmentors import FILES
from hidiff.training import Batch, TrainingSettings

if TYPE_CHECKING:  # only training needs Accelerate
    import accelerate


def priors_of(recipe: Recipe) -> Priors | None:
    """Return the settings of the priors' files; None where a network makes the prior."""
    return recipe.data.priors if recipe.segmentor.name == FILES else None


def reading_of(recipe: Recipe) -> Reading:
    """Return how the cases of a recipe are read."""
    data = recipe.data
    return Reading(
        recipe.labels,
        data.channels,
        data.intensity,
        data.slicing,
        data.size,
        priors_of(recipe),
    )


def list_cases(recipe: Recipe, split: str) -> list[Case]:
    """Return the cases of a split: train, validation or test."""
    data, priors = recipe.data, priors_of(recipe)
    cases = load_split(data.source, data.root, split, splitting=data.splitting)
    if priors is None:
        return cases
    folder = data.root / priors.folder
    return [
        case if case.prior else replace(case, prior=find_prior(folder, case.name, priors.kind))
        for case in cases
    ]


def list_splits(
    recipe: Recipe, needed: Sequence[Split] = ("train", "validation")
) -> dict[Split, list[Case]]:
    """Return the cases of every split. Raises MissingSplit for a needed one that is missing."""
    splits: dict[Split, list[Case]] = {}
    for split in SPLITS:
        try:
            splits[split] = list_cases(recipe, split)
        except MissingSplit:
            if split in needed:
                raise
            splits[split] = []
    return splits


def load_cases(recipe: Recipe, cases: Sequence[Case]) -> LoadedCases:
    """Return cases as training sees them: the slices of all images."""
    data = recipe.data
    if data.outside_field_of_view == "background":
        cases = [replace(case, field_of_view=None) for case in cases]
    return LoadedCases(cases, reading_of(recipe), data.cache)


def batches(
    recipe: Recipe,
    settings: TrainingSettings,
    loaded: LoadedCases,
    accelerator: "accelerate.Accelerator",
    stage: str,
    step: int,
) -> Iterator[Batch]:
    """Yield a stage's batches from a step on, in the parts for this process, without end."""
    # MONAI takes seconds to import, and only training has transforms.
    from hidiff.loading.transforms import training_transform

    data = recipe.data
    transform = training_transform(
        data.patch_size,
        data.augmentations,
        data.foreground_share,
        recipe.labels,
    )
    seed = seeding.derive(recipe.seed, stage)
    loader = DataLoader(
        TrainingPatches(loaded, transform, seed, data.foreground_share),
        batch_sampler=Draws(
            len(loaded),
            seed,
            settings.batch_size // settings.accumulation,
            first_batch=step * settings.accumulation,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
        ),
        collate_fn=collate,
        num_workers=settings.workers,
    )
    for items in loader:
        items["image"] = segmentor_input(items)
        planes = {
            name: items[name].to(accelerator.device, memory_format=torch.channels_last)
            for name in PLANES
            if name in items
        }
        yield Batch(items["name"], planes["image"], planes["y0"], planes["field_of_view"], planes)
