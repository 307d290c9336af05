"""A trained model as a folder that can be shared: safetensors, configuration and card."""

import json
from pathlib import Path
from typing import Any

from hidiff.experiment.card import write_card
from hidiff.experiment.models import ModelFile
from hidiff.models.hub import CARD_FILE, CONFIG_FILE, LIBRARY, MODEL_FILE
from hidiff.recipe import Recipe
from hidiff.segmentors import OWN
from hidiff.weights import atomic_write, save


def without_paths(recipe: Recipe) -> Recipe:
    """Return the recipe with the last name in place of every path on this machine.

    A path may hold a person's or a project's name, and leads nowhere elsewhere.
    """

    def last(path: str | None) -> str | None:
        return None if path is None else Path(path).name

    data = recipe.data.model_copy(update={"path": last(recipe.data.path)})
    settings = recipe.segmentor.without_start()
    segmentor = settings.model_copy(update={"weights": last(settings.weights)})
    training = recipe.training.model_copy(update={"start_from": last(recipe.training.start_from)})
    return recipe.model_copy(update={"data": data, "segmentor": segmentor, "training": training})


def save_pretrained(
    file: ModelFile, folder: str | Path, *, address: str, card: str = "", licence: str = ""
) -> Path:
    """Write a model as a folder for the Hugging Face hub, and return the folder.

    It gets model.safetensors, config.json (for people and programs; loading reads the former alone)
    and README.md, the model's card: `card`, or one made from the recipe. Paths of this machine are
    left out. `address` is USER/NAME, for the card. Raises ValueError for a model whose segmentor is
    a module of your own.
    """
    if file.recipe.segmentor.name == OWN:
        raise ValueError(
            f"{file.path} has a segmentor of your own, whose code is not in the file, so nobody "
            "could load it from the hub. Share its code, and the file beside it."
        )
    folder = Path(folder)
    recipe = without_paths(file.recipe)
    metadata = {**file.metadata, "recipe": recipe.model_dump_json()}
    config: dict[str, Any] = {
        "library_name": LIBRARY,
        **{key: value for key, value in sorted(metadata.items()) if key != "recipe"},
        "recipe": recipe.model_dump(mode="json"),
    }
    save(folder / MODEL_FILE, file.tensors, metadata)
    _write(folder / CONFIG_FILE, json.dumps(config, indent=1, ensure_ascii=False) + "\n")
    text = card or write_card(file._replace(recipe=recipe), address, licence)
    _write(folder / CARD_FILE, text)
    return folder


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
