"""Trained models: those that come with HiDiff, by name, and what the head of a checkpoint says.

Nothing here imports torch, so that a command refuses a misspelt model at once.
"""

import difflib
import glob
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from hidiff.models.hub import MODEL_FILE, HubName, fetch, hub_name, push

FOLDER = Path(__file__).parent
# The checkpoints of a run's folder, the first of which is its model.
MODELS = ("best.safetensors", "last.safetensors", "stage1.safetensors")


@dataclass(frozen=True)
class ShippedModel:
    """A packed file NAME.safetensors, with its facts in NAME.json and its card in NAME.md.

    research/pages/shipped_models.py makes all three.
    """

    file: Path

    @property
    def card(self) -> Path:
        """Return the page for people: data, training, results, limits."""
        return self.file.with_suffix(".md")

    @property
    def facts(self) -> dict[str, Any]:
        """Return the facts for programs, on which the card rests."""
        return json.loads(self.file.with_suffix(".json").read_text(encoding="utf-8"))


def shipped_models() -> dict[str, ShippedModel]:
    """Return the models that come with HiDiff, by name."""
    return {file.stem: ShippedModel(file) for file in sorted(FOLDER.glob("*.safetensors"))}


@dataclass(frozen=True)
class ModelHead:
    """A checkpoint's description of itself, read without its tensors."""

    path: Path
    metadata: dict[str, str]
    recipe: dict[str, Any]
    """the settings as they lie in the file; empty where they do not read"""

    @property
    def channels(self) -> int | None:
        """Return the number of channels of an image; None where the file does not say."""
        return self.recipe.get("data", {}).get("channels")

    @property
    def source(self) -> str:
        """Return the data set that it was trained on, by name; empty where the file is silent."""
        return str(self.recipe.get("data", {}).get("source", ""))

    @property
    def num_steps(self) -> int | None:
        """Return T, the steps of the diffusion; None where the file does not say."""
        return self.recipe.get("diffusion", {}).get("num_steps")

    @property
    def takes(self) -> str:
        """Return a phrase about the images it takes; empty where their values may be any."""
        data = self.recipe.get("data", {})
        intensity = data.get("intensity") or {}
        if intensity.get("kind") != "unit" or self.channels is None:
            return ""
        colours = {1: "grey images", 3: "colour images"}
        kind = colours.get(self.channels, f"images of {self.channels} channels")
        return f"{kind} with values from 0 to {intensity.get('full_scale', 255):g}"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes; none where the file does not say."""
        return tuple(self.recipe.get("labels", {}).get("classes") or ())

    @property
    def kind_of_priors(self) -> str:
        """Return the kind of priors that the model refines: probability or mask."""
        priors = self.recipe.get("data", {}).get("priors") or {}
        return str(priors.get("kind", "probability"))

    @property
    def takes_priors(self) -> bool:
        """Return whether the model refines the masks of another model, which come as files."""
        return self.recipe.get("segmentor", {}).get("name") == "files"


def find_model(path: str | Path) -> Path:
    """Return the checkpoint that is meant: a file, the best one of a run's folder, the model of
    that name that comes with HiDiff, or USER/NAME on the Hugging Face hub, which is fetched.

    A file or folder at the path wins over a name, and a folder USER here says that a path is meant.
    """
    path, shipped = Path(path), shipped_models()
    if path.is_dir():
        found = [path / name for name in (*MODELS, MODEL_FILE) if (path / name).is_file()]
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
    if path.is_file():
        return path
    named = hub_name(path)
    if named is None or path.parent.is_dir():
        close = difflib.get_close_matches(str(path), shipped, 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ValueError(
            f"{path} is not a file. Give the path of a .safetensors checkpoint or a run's folder, "
            f"the name of a model that comes with HiDiff ({', '.join(shipped)}), or USER/NAME of "
            f"one on the Hugging Face hub.{hint}"
        )
    return fetch(named)


def find_folds(run: Path) -> list[Path]:
    """Return the runs of a cross-validation, runs/NAME_fold0 and so on, out of runs/NAME."""
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


def read_head(path: str | Path) -> ModelHead:
    """Return what the head of a model's file says, in milliseconds.

    Raises ValueError for a model that is not there. The head of a damaged file is empty: whoever
    opens the whole model says what is wrong.
    """
    file = find_model(path)
    metadata: dict[str, str] = {}
    recipe: Any = {}
    try:
        with safe_open(file, framework="numpy") as opened:
            metadata = dict(opened.metadata() or {})
        recipe = json.loads(metadata.get("recipe", "{}"))
    except (SafetensorError, OSError, ValueError):
        pass
    groups = recipe if isinstance(recipe, dict) else {}
    return ModelHead(
        file, metadata, {name: each for name, each in groups.items() if isinstance(each, dict)}
    )


__all__ = [
    "FOLDER",
    "MODELS",
    "HubName",
    "ModelHead",
    "ShippedModel",
    "find_folds",
    "find_model",
    "hub_name",
    "push",
    "read_head",
    "shipped_models",
]
