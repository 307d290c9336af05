"""Recipe -> objects: the one file that knows every part."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from hidiff import __version__, seeding, weights
from hidiff.data import (
    Case,
    Draws,
    LoadedCases,
    TrainingPatches,
    collate,
    count_cache,
    load_split,
    training_transform,
)
from hidiff.hybrid import HybridSegmentor
from hidiff.inference import Predictor, evaluate
from hidiff.metrics import summarise
from hidiff.recipe import Recipe, make_recipe, write_recipe
from hidiff.refiner import Refiner
from hidiff.segmentors import HookedSegmentor, make_segmentor
from hidiff.training import Batch, Trainer, TrainingSettings, count_flops, load_model
from hidiff.training.memory import (
    MemoryNeed,
    count_activations,
    count_weights,
    gib,
    memory_of,
)
from hidiff.training.trainer import IN_TURNS

FORMAT = "hidiff-1"  # of the metadata in a checkpoint
MODELS = ("best.safetensors", "last.safetensors", "stage1.safetensors")


class ModelFile(NamedTuple):
    """A checkpoint, read."""

    recipe: Recipe
    tensors: dict[str, torch.Tensor]
    metadata: dict[str, str]
    """`stage` and `step` it was written at, and what checkpoint_metadata gives"""
    path: Path


def make_hybrid(recipe: Recipe) -> HybridSegmentor:
    """The untrained networks of a recipe; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.derive(recipe.seed, "weights"))
        segmentor, refiner = _make_networks(recipe)
    return HybridSegmentor(segmentor, refiner, recipe.labels, recipe.diffusion)


def _make_networks(recipe: Recipe) -> tuple[HookedSegmentor, Refiner]:
    channels, planes = recipe.data.channels, recipe.labels.num_planes
    segmentor = make_segmentor(recipe.segmentor, channels, planes)
    return segmentor, Refiner(channels, planes, segmentor.feature_channels, recipe.refiner)


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
        window=recipe.data.patch_size,
        size=recipe.data.size,
        settings=recipe.prediction,
        device=device,
        refines=refines,
    )


def list_cases(recipe: Recipe, split: str) -> list[Case]:
    """The cases of a split: train, validation or test."""
    data = recipe.data
    return load_split(data.source, data.root, split, splitting=data.splitting)


def open_model(path: str | Path) -> ModelFile:
    """What lies in a checkpoint (.safetensors), or in the best one of a run's folder.

    Raises ValueError, naming the file, for one that is not a HiDiff model.
    """
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in MODELS if (path / name).is_file()]
        if not found:
            raise ValueError(
                f"{path} holds none of {', '.join(MODELS)}, so no model was trained there yet. "
                "Run hidiff train, or give a checkpoint's path."
            )
        path = found[0]
    tensors, metadata = weights.load(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} is no HiDiff checkpoint of format {FORMAT} (it says "
            f"{metadata.get('format', 'nothing')}). Give one that hidiff train wrote."
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


def load(path: str | Path, device: torch.device | str = "cpu") -> Predictor:
    """A trained model, from a checkpoint (.safetensors) or a run's folder (its best one).

    `.predict(image)` of what comes back gives labels, probability, uncertainty and prior. A model
    without a trained refiner (stage 1, or arm segmentor_only) gives its prior as the answer.
    Raises ValueError, naming the file, for one that is not a HiDiff model.
    """
    model = open_model(path)
    hybrid = make_hybrid(model.recipe)
    try:
        load_model(model.tensors, hybrid.segmentor, hybrid.refiner)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{model.path}: {error}") from error
    refines = model.metadata.get("stage", IN_TURNS) == IN_TURNS
    return make_predictor(hybrid, model.recipe, device, refines)


def train(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    cpu: bool = False,
    validate: bool = True,
) -> Path:
    """Train as the recipe says; checkpoints and metrics.jsonl go to `folder`. The last model."""
    trainer = make_trainer(recipe, folder, cpu=cpu, validate=validate)
    folder.mkdir(parents=True, exist_ok=True)
    if trainer.accelerator.is_main_process:
        write_recipe(recipe, folder / "recipe.yaml")
    return trainer.run(resume)


def make_trainer(
    recipe: Recipe, folder: Path, *, cpu: bool = False, validate: bool = True
) -> Trainer:
    """All that a run needs, training data included; its `stages` and `budget` are known now."""
    settings = _effective(recipe)
    check_memory(recipe, torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu"))
    accelerator = Accelerator(cpu=cpu, mixed_precision=settings.mixed_precision)
    hybrid = make_hybrid(recipe)
    _start_from(recipe, hybrid)
    budget = count_flops(
        hybrid,
        recipe.data.patch_size,
        settings.batch_size,
        settings.loss,
        settings.diffusion_weight,
    )
    loaded = load_cases(recipe, "train")
    return Trainer(
        hybrid,
        lambda stage, step: batches(recipe, settings, loaded, accelerator, stage, step),
        settings,
        budget,
        folder,
        recipe.seed,
        checkpoint_metadata(recipe),
        accelerator,
        _validation(recipe, accelerator) if validate else None,
    )


def estimate_memory(recipe: Recipe) -> MemoryNeed:
    """What training needs at the least; nothing of it is allocated."""
    with torch.device("meta"):
        segmentor, refiner = _make_networks(recipe)
    settings, data = recipe.training, recipe.data
    part = max(settings.batch_size // settings.accumulation, 1)
    return MemoryNeed(
        weights=count_weights(segmentor, refiner),
        activations=count_activations(
            segmentor,
            refiner,
            # the budget is counted on two patches, whatever the batch
            num_images=max(part, 2),
            channels=data.channels,
            planes=recipe.labels.num_planes,
            patch_size=data.patch_size,
        ),
        cache=count_cache(
            list_cases(recipe, "train"), data.channels, recipe.labels.num_planes, data.size
        )
        if data.cache
        else 0,
    )


def check_memory(recipe: Recipe, device: torch.device) -> None:
    """Raise ValueError for a recipe that cannot fit, warn of one that may not fit now."""
    need = estimate_memory(recipe)
    beside = MemoryNeed(0, 0, need.cache)
    on_device = MemoryNeed(need.weights, need.activations, 0)
    wanted = [("cuda", on_device), ("cpu", beside)] if device.type == "cuda" else [("cpu", need)]
    for kind, each in wanted:
        whole, free = memory_of(torch.device(kind))
        advice = (
            "Lower training.batch_size, or raise training.accumulation; lower data.patch_size or "
            "refiner.width; or set data.cache=false."
        )
        if each.total > whole:
            raise ValueError(
                f"training as the recipe says needs at least {each}, but this machine has "
                f"{gib(whole)} ({kind}). {advice}"
            )
        if each.total > free:
            warnings.warn(
                f"training needs at least {each}, but {gib(free)} are free now ({kind}), so it "
                f"may end for want of memory. {advice}",
                stacklevel=2,
            )


def load_cases(recipe: Recipe, split: str) -> LoadedCases:
    """The cases of a split as the networks see them."""
    data = recipe.data
    return LoadedCases(
        list_cases(recipe, split),
        recipe.labels,
        data.channels,
        data.intensity,
        data.size,
        data.cache,
    )


def batches(
    recipe: Recipe,
    settings: TrainingSettings,
    loaded: LoadedCases,
    accelerator: Accelerator,
    stage: str,
    step: int,
) -> Iterator[Batch]:
    """A stage's batches from a step on, in the parts that this process trains on, without end."""
    data = recipe.data
    transform = training_transform(
        data.patch_size, data.augmentations, data.foreground_share, recipe.labels
    )
    seed = seeding.derive(recipe.seed, stage)
    loader = DataLoader(
        TrainingPatches(loaded, transform, seed),
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


def checkpoint_metadata(recipe: Recipe) -> dict[str, str]:
    """What a checkpoint says of itself."""
    return {"format": FORMAT, "hidiff_version": __version__, "recipe": recipe.model_dump_json()}


def _effective(recipe: Recipe) -> TrainingSettings:
    """The training settings, stage 1 left out where the segmentor comes trained."""
    trained = recipe.segmentor.weights or recipe.training.start_from
    return recipe.training.model_copy(update={"stage1_steps": 0} if trained else {})


def _start_from(recipe: Recipe, hybrid: HybridSegmentor) -> None:
    """Load the weights that the recipe names."""
    if recipe.training.start_from:
        model = open_model(recipe.training.start_from)
        try:
            load_model(model.tensors, hybrid.segmentor, hybrid.refiner)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"training.start_from, {model.path}: {error}") from error
    elif recipe.segmentor.weights:
        _load_segmentor(Path(recipe.segmentor.weights), hybrid)


def _load_segmentor(path: Path, hybrid: HybridSegmentor) -> None:
    """A segmentor's weights: of a HiDiff checkpoint, or of the bare network."""
    tensors = weights.load_foreign(path)
    ours = {
        name.removeprefix("segmentor."): value
        for name, value in tensors.items()
        if name.startswith("segmentor.")
    }
    module = hybrid.segmentor if ours else getattr(hybrid.segmentor, "network", hybrid.segmentor)
    try:
        module.load_state_dict(ours or tensors)
    except RuntimeError as error:
        raise ValueError(
            f"segmentor.weights, {path}, do not fit {type(module).__name__}: {error}"
        ) from error


def _validation(recipe: Recipe, accelerator: Accelerator):
    """Mean Dice over the validation cases: of the prior, and of the refined masks."""
    cases = list_cases(recipe, "validation")

    def validate(hybrid: HybridSegmentor, refine: bool) -> dict[str, float]:
        predictor = make_predictor(hybrid, recipe, accelerator.device)
        summary = summarise(evaluate(predictor, cases, refine=refine))
        entry = summary.entry("mean", "dice")
        numbers = {"dice_prior": entry.prior.mean if entry.prior else 0.0}
        if entry.refined:
            numbers["dice_refined"] = entry.refined.mean
        return {**numbers, "score": numbers.get("dice_refined", numbers["dice_prior"])}

    return validate
