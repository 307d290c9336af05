"""Checkpoints, opened and described."""

import json
from pathlib import Path
from typing import NamedTuple

import torch

from hidiff import export, weights
from hidiff._version import __version__
from hidiff.models import MODELS, find_folds, find_model
from hidiff.recipe import Recipe, make_recipe
from hidiff.training.stages import IN_TURNS, STAGES

FORMAT = "hidiff-1"  # of the metadata in a checkpoint

__all__ = [
    "FORMAT",
    "MODELS",
    "ModelFile",
    "checkpoint_metadata",
    "find_folds",
    "find_model",
    "load_recipe",
    "open_model",
]


class ModelFile(NamedTuple):
    """A checkpoint, read."""

    recipe: Recipe
    tensors: dict[str, torch.Tensor]
    metadata: dict[str, str]
    """`stage` and `step` it was written at, and what checkpoint_metadata gives"""
    path: Path

    @property
    def packed(self) -> bool:
        """Written by hidiff pack: its refiner works on bits, and cannot be trained."""
        return self.metadata.get("format") == export.FORMAT

    @property
    def refines(self) -> bool:
        """Return whether its refiner was trained, unlike that of stage 1 or arm segmentor_only."""
        stage = STAGES.get(self.metadata.get("stage", IN_TURNS.name))
        return stage is not None and stage.leaves_refiner


def open_model(path: str | Path) -> ModelFile:
    """Return the content of a checkpoint (.safetensors), a run's best one, or a model of HiDiff's.

    Raises ValueError, naming the file, for one that is not a HiDiff model.
    """
    path = find_model(path)
    tensors, metadata = weights.load(path)
    if metadata.get("format") not in (FORMAT, export.FORMAT):
        raise ValueError(
            f"{path} is no HiDiff checkpoint of format {FORMAT} or {export.FORMAT} (it says "
            f"{metadata.get('format', 'nothing')}). Give one that hidiff train or pack wrote."
        )
    try:
        content = json.loads(metadata["recipe"])
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path} holds no recipe that reads ({error}), so nothing is known of its networks. "
            "Copy it again, or take an earlier checkpoint."
        ) from error
    recipe = make_recipe(content, str(path))
    return ModelFile(recipe, tensors, metadata, path)


def load_recipe(path: str | Path) -> Recipe:
    """Return the recipe inside a checkpoint, or inside the best one of a run's folder."""
    return open_model(path).recipe


def checkpoint_metadata(recipe: Recipe) -> dict[str, str]:
    """Return the metadata that a checkpoint of this recipe carries."""
    return {"format": FORMAT, "hidiff_version": __version__, "recipe": recipe.model_dump_json()}
