"""From a checkpoint to trained networks, and to the predictor that runs them."""

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


def load_predictor(
    path: str | Path | Sequence[str | Path],
    device: torch.device | str = "cpu",
    *,
    segmentor: nn.Module | None = None,
    segmentor_runtime: str = export.TORCH,
    compiled: bool = False,
) -> Predictor:
    """Return the predictor inside a model; the arguments are those of `hidiff.load`."""
    models = open_models(path)
    return join_predictors(models, device, segmentor, segmentor_runtime, compiled)


def open_models(path: str | Path | Sequence[str | Path]) -> list[ModelFile]:
    """Open one checkpoint or several."""
    paths = [path] if isinstance(path, str | Path) else path
    return [open_model(each) for each in paths]


def join_predictors(
    models: Sequence[ModelFile],
    device: torch.device | str,
    segmentor: nn.Module | None,
    segmentor_runtime: str,
    compiled: bool,
) -> Predictor:
    """Return the predictor of one checkpoint, or an ensemble of several."""
    if len(models) == 1:
        return _predictor_of(models[0], device, segmentor, segmentor_runtime, compiled)
    if segmentor is not None:
        raise ValueError("segmentor= is for one model: load each, and pass them to Ensemble.")
    return Ensemble(
        [_predictor_of(model, device, None, segmentor_runtime, compiled) for model in models]
    )


def _predictor_of(
    model: ModelFile,
    device: torch.device | str,
    segmentor: nn.Module | None,
    segmentor_runtime: str,
    compiled: bool,
) -> Predictor:
    if model.packed and torch.device(device).type != "cpu":
        warnings.warn(f"{model.path} is packed, so it runs on the CPU.", stacklevel=4)
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
    kept = None
    if segmentor is None and segmentor_runtime != export.TORCH:
        # a module that was handed in may change its code, of which no file knows
        kept = export.KeptExport(model.path, hybrid.segmentor, size)
    hybrid.segmentor = export.export_segmentor(hybrid.segmentor, size, segmentor_runtime, kept)
    if compiled:
        # one method in place of another: no type says that
        setattr(hybrid.refiner, "denoise", torch.compile(hybrid.refiner.denoise))  # noqa: B010
    return predictor


def load_hybrid(model: ModelFile, segmentor: nn.Module | None = None) -> HybridSegmentor:
    """Return the trained networks of a checkpoint. Raises ValueError, naming the file."""
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
    """Return the networks, ready for images as the recipe describes them."""
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
