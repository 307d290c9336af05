"""Checkpoint -> trained networks -> Predictor."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from hidiff import export
from hidiff.experiment.cases import priors_of
from hidiff.experiment.models import ModelFile, open_model
from hidiff.experiment.networks import make_hybrid, refiner_of, segmentor_of
from hidiff.hybrid import HybridSegmentor
from hidiff.prediction import Ensemble, Predictor
from hidiff.recipe import Recipe
from hidiff.segmentors import OWN
from hidiff.training import load_model


def load(
    path: str | Path | Sequence[str | Path],
    device: torch.device | str = "cpu",
    *,
    segmentor: nn.Module | None = None,
    segmentor_runtime: str = export.TORCH,
    compiled: bool = False,
) -> Predictor:
    """A trained model: a checkpoint (.safetensors), a run's folder (its best one), or one that
    comes with HiDiff, by its name (hidiff models lists them).

    `.predict(image)` of what comes back gives labels, probability, uncertainty and prior. A model
    without a trained refiner (stage 1, or arm segmentor_only) gives its prior as the answer. Of
    several paths, such as the folds of a cross-validation, the mean of all is the answer.
    `segmentor` is for a model that was trained with your own module: one of the same class, which
    gets the trained weights; wrapped or not. `segmentor_runtime` is torch, onnx or openvino (on the
    CPU alone, and after an export that takes a while). `compiled` runs a float refiner's steps
    through torch.compile, which needs a C++ compiler (on a GPU: Triton) and takes a minute at the
    first window of each size. Raises ValueError, naming the file, for one that is not a HiDiff
    model.
    """
    if not isinstance(path, str | Path):
        if segmentor is not None:
            raise ValueError("segmentor= is for one model: load each, and pass them to Ensemble.")
        options = {"segmentor_runtime": segmentor_runtime, "compiled": compiled}
        return Ensemble([load(each, device, **options) for each in path])
    model = open_model(path)
    if model.packed and torch.device(device).type != "cpu":
        warnings.warn(f"{model.path} is packed, so it runs on the CPU.", stacklevel=2)
        device = "cpu"
    if segmentor_runtime != export.TORCH and torch.device(device).type != "cpu":
        raise ValueError(
            f"the segmentor runs in {segmentor_runtime} on the CPU only, but {device} is asked for "
            "(auto takes a GPU). Choose the device cpu, or leave the runtime out."
        )
    if compiled and model.packed:
        raise ValueError(
            f"{model.path} is packed: its kernels are compiled already. Compile the checkpoint "
            "that it was made from, or leave that out."
        )
    hybrid = load_hybrid(model, segmentor)
    predictor = make_predictor(hybrid, model.recipe, device, model.refines)
    size = model.recipe.prediction.window_size or model.recipe.data.patch_size
    hybrid.segmentor = export.export_segmentor(hybrid.segmentor, size, segmentor_runtime)
    if compiled:
        # one method in place of another: no type says that
        setattr(hybrid.refiner, "denoise", torch.compile(hybrid.refiner.denoise))  # noqa: B010
    return predictor


def load_hybrid(model: ModelFile, segmentor: nn.Module | None = None) -> HybridSegmentor:
    """The trained networks of a checkpoint. Raises ValueError, naming the file."""
    settings = model.recipe.segmentor.without_start()
    model = model._replace(recipe=model.recipe.model_copy(update={"segmentor": settings}))
    try:
        if segmentor is not None and model.recipe.segmentor.name != OWN:
            raise ValueError(
                f"it was trained with the segmentor {model.recipe.segmentor.name}, which is made "
                "from its recipe. Leave segmentor= out."
            )
        if model.packed:
            return _load_packed(model, segmentor)
        hybrid = make_hybrid(model.recipe, segmentor)
        load_model(model.tensors, hybrid.segmentor, hybrid.refiner)
        return hybrid
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{model.path}: {error}") from error


def _load_packed(model: ModelFile, own: nn.Module | None) -> HybridSegmentor:
    recipe = model.recipe
    segmentor = segmentor_of(recipe, own)
    with torch.device("meta"):  # its sizes alone are wanted
        empty = refiner_of(recipe, segmentor)
    refiner = export.load_packed(model.tensors, model.metadata, segmentor, empty)
    return HybridSegmentor(segmentor, refiner, recipe.labels, recipe.diffusion)


def make_predictor(
    hybrid: HybridSegmentor,
    recipe: Recipe,
    device: torch.device | str = "cpu",
    refines: bool = True,
) -> Predictor:
    """The networks, ready for images as the recipe describes them."""
    return Predictor(
        hybrid,
        channels=recipe.data.channels,
        intensity=recipe.data.intensity,
        slicing=recipe.data.slicing,
        priors=priors_of(recipe),
        window=recipe.data.patch_size,
        size=recipe.data.size,
        settings=recipe.prediction,
        device=device,
        refines=refines,
    )
