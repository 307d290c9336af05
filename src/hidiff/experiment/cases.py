"""Recipe -> cases: listed by split, loaded as the networks see them, dealt out in batches."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.utils.data import DataLoader

from hidiff import seeding
from hidiff.datasets import Case, MissingSplit, load_split
from hidiff.datasets.splits import SPLITS, Split
from hidiff.images import Priors, find_prior, is_volume
from hidiff.loading import (
    Draws,
    LoadedCases,
    LoadedVolumes,
    TrainingPatches,
    collate,
)
from hidiff.recipe import Recipe
from hidiff.segmentors import FILES
from hidiff.training import Batch, TrainingSettings

if TYPE_CHECKING:  # only training needs Accelerate
    import accelerate


def priors_of(recipe: Recipe) -> Priors | None:
    """What the priors are, if they come from files."""
    return recipe.data.priors if recipe.segmentor.name == FILES else None


def list_cases(recipe: Recipe, split: str) -> list[Case]:
    """The cases of a split: train, validation or test."""
    data, priors = recipe.data, priors_of(recipe)
    cases = load_split(data.source, data.root, split, splitting=data.splitting)
    if priors is None:
        return cases
    if any(is_volume(case.image) for case in cases):
        raise ValueError(
            "segmentor.name is files, but the cases are volumes, whose priors cannot be read yet. "
            "Write slices and their priors as pictures or arrays."
        )
    folder = data.root / priors.folder
    return [replace(case, prior=find_prior(folder, case.name, priors.kind)) for case in cases]


def list_splits(
    recipe: Recipe, needed: Sequence[Split] = ("train", "validation")
) -> dict[Split, list[Case]]:
    """The cases of every split. Raises MissingSplit for one that is needed and not there."""
    splits: dict[Split, list[Case]] = {}
    for split in SPLITS:
        try:
            splits[split] = list_cases(recipe, split)
        except MissingSplit:
            if split in needed:
                raise
            splits[split] = []
    return splits


def load_cases(recipe: Recipe, cases: Sequence[Case]) -> LoadedCases | LoadedVolumes:
    """Return cases as training sees them: pictures, or slices of volumes."""
    data = recipe.data
    if any(is_volume(case.image) for case in cases):
        return LoadedVolumes(
            cases,
            recipe.labels,
            data.channels,
            data.intensity,
            data.slicing,
            data.size,
            data.cache,
        )
    if data.outside_field_of_view == "background":
        cases = [replace(case, field_of_view=None) for case in cases]
    return LoadedCases(
        cases,
        recipe.labels,
        data.channels,
        data.intensity,
        data.size,
        data.cache,
        priors_of(recipe),
    )


def batches(
    recipe: Recipe,
    settings: TrainingSettings,
    loaded: LoadedCases | LoadedVolumes,
    accelerator: "accelerate.Accelerator",
    stage: str,
    step: int,
) -> Iterator[Batch]:
    """A stage's batches from a step on, in the parts that this process trains on, without end."""
    # MONAI takes seconds to import, and only training has transforms.
    from hidiff.loading.transforms import training_transform

    data = recipe.data
    transform = training_transform(
        data.patch_size,
        data.augmentations,
        data.foreground_share,
        recipe.labels,
        recipe.labels.num_planes if priors_of(recipe) else 0,
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
        image, y0, inside = (
            items[key].to(accelerator.device, memory_format=torch.channels_last)
            for key in ("image", "y0", "field_of_view")
        )
        yield Batch(items["name"], image, y0, inside)
