"""Checkpoints: found by path or name, opened, and described."""

import glob
import json
from pathlib import Path
from typing import NamedTuple

import torch

from hidiff import export, weights
from hidiff._version import __version__
from hidiff.models import shipped_models
from hidiff.recipe import Recipe, make_recipe
from hidiff.training.stages import IN_TURNS, STAGES

FORMAT = "hidiff-1"  # of the metadata in a checkpoint
MODELS = ("best.safetensors", "last.safetensors", "stage1.safetensors")


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


def find_model(path: str | Path) -> Path:
    """The checkpoint that is meant: that file, the best one of a run's folder, or a model that
    comes with HiDiff, by its name. What lies at the path wins over a name.
    """
    path, shipped = Path(path), shipped_models()
    if path.is_dir():
        found = [path / name for name in MODELS if (path / name).is_file()]
        if found:
            return found[0]
        named = shipped.get(str(path))
        instead = f"; HiDiff's own model of that name is {named.file}" if named else ""
        raise ValueError(
            f"{path} holds none of {', '.join(MODELS)}, so no model was trained there yet. "
            f"Run hidiff train, or give a checkpoint's path{instead}."
        )
    if not path.exists() and str(path) in shipped:
        return shipped[str(path)].file
    if not path.is_file():
        raise ValueError(
            f"{path} is not a file. Give the path of a .safetensors checkpoint, a run's folder, or "
            f"a model that comes with HiDiff: {', '.join(shipped)}."
        )
    return path


def open_model(path: str | Path) -> ModelFile:
    """What lies in a checkpoint (.safetensors), in the best one of a run's folder, or in a model
    that comes with HiDiff.

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
    """The recipe inside a checkpoint, or a run's folder."""
    return open_model(path).recipe


def find_folds(run: Path) -> list[Path]:
    """The runs of a cross-validation, runs/NAME_fold0 and so on, out of runs/NAME."""
    numbered = {
        int(place.name.rpartition("_fold")[2]): place
        for place in run.parent.glob(f"{glob.escape(run.name)}_fold*")
        if place.is_dir() and place.name.rpartition("_fold")[2].isdecimal()
    }
    if not numbered:
        raise FileNotFoundError(
            f"there is no {run}_fold0 or other fold. Train them: hidiff train RECIPE --fold 0."
        )
    return [numbered[number] for number in sorted(numbered)]


def checkpoint_metadata(recipe: Recipe) -> dict[str, str]:
    """What a checkpoint says of itself."""
    return {"format": FORMAT, "hidiff_version": __version__, "recipe": recipe.model_dump_json()}
