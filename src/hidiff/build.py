"""Recipe -> objects: the one file that knows every part."""

import copy
import glob
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

from hidiff import __version__, export, seeding, weights
from hidiff.data import (
    SPLITS_FILE,
    Case,
    Draws,
    Intensity,
    LoadedCases,
    LoadedVolumes,
    MissingSplit,
    Priors,
    TrainingPatches,
    collate,
    count_cache,
    count_volume_cache,
    find_prior,
    is_volume,
    load_split,
    training_transform,
    write_splits,
)
from hidiff.data.splits import SPLITS, Split
from hidiff.hybrid import HybridSegmentor
from hidiff.inference import Ensemble, Predictor, evaluate
from hidiff.metrics import summarise
from hidiff.models import shipped_models
from hidiff.recipe import Recipe, make_recipe, write_recipe
from hidiff.refiner import Refiner
from hidiff.segmentors import (
    FILES,
    OWN,
    PriorFromFiles,
    Segmentor,
    adopt,
    input_size,
    load_pretrained,
    make_segmentor,
    own_settings,
)
from hidiff.training import Batch, Trainer, TrainingSettings, count_flops, load_model
from hidiff.training.log import METRICS_FILE
from hidiff.training.memory import (
    MemoryNeed,
    count_activations,
    count_weights,
    gib,
    memory_of,
)
from hidiff.training.state import (
    FORMER_STATE_FILE,
    STATE_FILE,
    UNREADABLE_STATE_FILE,
    has_state,
)
from hidiff.training.trainer import IN_TURNS, MODEL_FILES, REFINING

FORMAT = "hidiff-1"  # of the metadata in a checkpoint
RECIPE_FILE = "recipe.yaml"
RUN_FILES = (
    RECIPE_FILE,
    SPLITS_FILE,
    METRICS_FILE,
    STATE_FILE,
    FORMER_STATE_FILE,
    UNREADABLE_STATE_FILE,
    *MODEL_FILES,
)
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
        """Its refiner was trained: not of stage 1, nor of arm segmentor_only."""
        return self.metadata.get("stage", IN_TURNS) in REFINING


def make_hybrid(recipe: Recipe, segmentor: nn.Module | None = None) -> HybridSegmentor:
    """The untrained networks of a recipe; the same seed gives the same weights.

    `segmentor` is the user's own module, for a recipe that says so; it is used itself.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.derive(recipe.seed, "weights"))
        found = _make_segmentor(recipe, segmentor)
        refiner = _make_refiner(recipe, found)
    return HybridSegmentor(found, refiner, recipe.labels, recipe.diffusion)


def _make_segmentor(recipe: Recipe, own: nn.Module | None = None) -> Any:
    """An nn.Module that is a Segmentor: Python has no type for both."""
    channels, patch = recipe.data.image_channels, recipe.data.patch_size
    if recipe.segmentor.name == FILES:
        labels = recipe.labels
        return PriorFromFiles(channels, labels.num_planes, labels.kind == "exclusive")
    if own is None:
        segmentor = make_segmentor(recipe.segmentor, channels, recipe.labels.num_planes)
    else:
        segmentor = adopt(own, recipe.segmentor, channels)
    warn_of_intensity(segmentor, recipe.data.intensity)
    size = input_size(segmentor)
    if size not in (None, patch):
        raise ValueError(
            f"data.patch_size is {patch[0]}x{patch[1]}, but the segmentor takes images of "
            f"{size[0]}x{size[1]} only. Set data.patch_size to that."
        )
    return segmentor


def warn_of_intensity(segmentor: nn.Module, intensity: Intensity) -> None:
    """Warn where a segmentor that says what it was trained on would get other images."""
    trained_on = getattr(segmentor, "trained_on", None)
    if trained_on is None:
        return
    wanted = trained_on.intensity
    if intensity.model_dump(include=set(wanted)) != wanted:
        spacing = " x ".join(f"{side:g}" for side in trained_on.spacing_mm)
        warnings.warn(
            f"the segmentor was trained on images of intensity {wanted} at {spacing} mm, but "
            f"data.intensity is of kind {intensity.kind}. Set it to that, and give images of that "
            "spacing.",
            stacklevel=2,
        )


def _with_own(recipe: Recipe, module: nn.Module | None) -> tuple[Recipe, nn.Module | None]:
    """A user's own module as a segmentor, and the recipe that says so."""
    if module is None:
        return recipe, None
    segmentor = adopt(module, recipe.segmentor, recipe.data.image_channels)
    settings = own_settings(segmentor, recipe.segmentor)
    return recipe.model_copy(update={"segmentor": settings}), segmentor


def _make_refiner(recipe: Recipe, segmentor: Segmentor) -> Refiner:
    planes, features = recipe.labels.num_planes, segmentor.feature_channels
    return Refiner(segmentor.image_channels, planes, features, recipe.refiner)


def _priors(recipe: Recipe) -> Priors | None:
    """What the priors are, if they come from files."""
    return recipe.data.priors if recipe.segmentor.name == FILES else None


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
        priors=_priors(recipe),
        window=recipe.data.patch_size,
        size=recipe.data.size,
        settings=recipe.prediction,
        device=device,
        refines=refines,
    )


def list_cases(recipe: Recipe, split: str) -> list[Case]:
    """The cases of a split: train, validation or test."""
    data, priors = recipe.data, _priors(recipe)
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


def list_splits(recipe: Recipe) -> dict[Split, list[Case]]:
    """The cases of every split; only that of the tests may be missing."""
    splits: dict[Split, list[Case]] = {}
    for split in SPLITS:
        try:
            splits[split] = list_cases(recipe, split)
        except MissingSplit:
            if split != "test":
                raise
            splits[split] = []
    return splits


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
    size = model.recipe.data.patch_size
    hybrid.segmentor = export.export_segmentor(hybrid.segmentor, size, segmentor_runtime)
    if compiled:
        # one method in place of another: no type says that
        setattr(hybrid.refiner, "denoise", torch.compile(hybrid.refiner.denoise))  # noqa: B010
    return predictor


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
    segmentor = _make_segmentor(recipe, own)
    with torch.device("meta"):  # its sizes alone are wanted
        empty = _make_refiner(recipe, segmentor)
    refiner = export.load_packed(model.tensors, model.metadata, segmentor, empty)
    return HybridSegmentor(segmentor, refiner, recipe.labels, recipe.diffusion)


def train(
    recipe: Recipe,
    folder: Path | str,
    *,
    segmentor: nn.Module | None = None,
    resume: bool = False,
    cpu: bool = False,
    validate: bool = True,
) -> Path:
    """Train as the recipe says; checkpoints and metrics.jsonl go to `folder`. The last model.

    `segmentor` is your own module, wrapped by `hidiff.wrap` or not, in place of the recipe's; it is
    trained itself, not a copy of it. Raises FileExistsError for a folder that holds a run, unless
    it is to go on.
    """
    folder = Path(folder)
    recipe, segmentor = _with_own(recipe, segmentor)
    trainer = make_trainer(
        recipe, folder, segmentor=segmentor, resume=resume, cpu=cpu, validate=validate
    )
    folder.mkdir(parents=True, exist_ok=True)
    if trainer.accelerator.is_main_process:
        if not resume and (there := list_run_files(folder)):
            raise FileExistsError(
                f"{folder} holds a run already ({', '.join(file.name for file in there)}). Go on "
                "with it (resume), remove these files, or train into another folder."
            )
        write_recipe(recipe, folder / RECIPE_FILE)
        write_splits(list_splits(recipe), folder)
    return trainer.run(resume)


def list_run_files(folder: Path) -> list[Path]:
    """What a run has left in its folder, which would be taken for the next one's."""
    return [folder / name for name in RUN_FILES if (folder / name).exists()]


def make_trainer(
    recipe: Recipe,
    folder: Path,
    *,
    segmentor: nn.Module | None = None,
    resume: bool = False,
    cpu: bool = False,
    validate: bool = True,
) -> Trainer:
    """All that a run needs, training data included; its `stages` and `budget` are known now.

    With `resume`, for a run that is to go on: the weights that it began with are not read again.
    """
    recipe, segmentor = _with_own(recipe, segmentor)
    settings = _effective(recipe)
    device = torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")
    check_memory(recipe, device, segmentor)
    accelerator = Accelerator(cpu=cpu, mixed_precision=settings.mixed_precision)
    hybrid = make_hybrid(recipe, segmentor)
    if not (resume and has_state(folder)):
        _start_from(recipe, hybrid, accelerator.print)
    budget = count_flops(
        hybrid,
        recipe.data.patch_size,
        settings.batch_size,
        settings.loss,
        settings.diffusion_weight,
        settings.segmentor == "frozen",
        settings.segmentor == "joint",
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


def estimate_memory(recipe: Recipe, own: nn.Module | None = None) -> MemoryNeed:
    """What training needs at the least; nothing of it is allocated."""
    with torch.device("meta"):
        segmentor = _make_segmentor(recipe, own if own is None else copy.deepcopy(own).to("meta"))
        refiner = _make_refiner(recipe, segmentor)
    settings, data = recipe.training, recipe.data
    frozen = settings.segmentor == "frozen"
    part = max(settings.batch_size // settings.accumulation, 1)
    return MemoryNeed(
        weights=count_weights(segmentor, refiner, frozen),
        activations=count_activations(
            segmentor,
            refiner,
            # the budget is counted on two patches, whatever the batch
            num_images=max(part, 2),
            channels=segmentor.image_channels,
            planes=recipe.labels.num_planes,
            patch_size=data.patch_size,
            frozen=frozen,
        ),
        cache=_count_cache(recipe) if data.cache is True else 0,
    )


def _count_cache(recipe: Recipe) -> int:
    data, planes = recipe.data, recipe.labels.num_planes
    channels = data.channels + (planes if _priors(recipe) else 0)
    cases = list_cases(recipe, "train")
    if any(is_volume(case.image) for case in cases):
        return count_volume_cache(cases, data.channels, planes, data.slicing, data.size)
    return count_cache(cases, channels, planes, data.size)


def check_memory(recipe: Recipe, device: torch.device, own: nn.Module | None = None) -> None:
    """Raise ValueError for a recipe that cannot fit, warn of one that may not fit now."""
    try:
        need = estimate_memory(recipe, own)
    except (RuntimeError, NotImplementedError):
        if own is None:
            raise
        return  # not every module of a user's own runs without the content of its tensors
    beside = MemoryNeed(0, 0, need.cache)
    on_device = MemoryNeed(need.weights, need.activations, 0, libraries=0)
    wanted = [("cuda", on_device), ("cpu", beside)] if device.type == "cuda" else [("cpu", need)]
    for kind, each in wanted:
        whole, free = memory_of(torch.device(kind))
        advice = (
            "Lower training.batch_size, or raise training.accumulation; lower data.patch_size or "
            "refiner.width; or set data.cache=disk."
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


def load_cases(recipe: Recipe, split: str) -> LoadedCases | LoadedVolumes:
    """The cases of a split as the networks see them: pictures, or slices of volumes."""
    data, cases = recipe.data, list_cases(recipe, split)
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
    return LoadedCases(
        cases,
        recipe.labels,
        data.channels,
        data.intensity,
        data.size,
        data.cache,
        _priors(recipe),
    )


def batches(
    recipe: Recipe,
    settings: TrainingSettings,
    loaded: LoadedCases | LoadedVolumes,
    accelerator: Accelerator,
    stage: str,
    step: int,
) -> Iterator[Batch]:
    """A stage's batches from a step on, in the parts that this process trains on, without end."""
    data = recipe.data
    transform = training_transform(
        data.patch_size,
        data.augmentations,
        data.foreground_share,
        recipe.labels,
        recipe.labels.num_planes if _priors(recipe) else 0,
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


def checkpoint_metadata(recipe: Recipe) -> dict[str, str]:
    """What a checkpoint says of itself."""
    return {"format": FORMAT, "hidiff_version": __version__, "recipe": recipe.model_dump_json()}


def _effective(recipe: Recipe) -> TrainingSettings:
    """The training settings, stage 1 left out where the segmentor comes trained."""
    trained = recipe.segmentor.weights or recipe.training.start_from
    return recipe.training.model_copy(update={"stage1_steps": 0} if trained else {})


def _start_from(recipe: Recipe, hybrid: HybridSegmentor, say: Callable[[str], object]) -> None:
    """Load the weights that the recipe names."""
    if recipe.training.start_from:
        model = open_model(recipe.training.start_from)
        if model.packed:
            raise ValueError(
                f"training.start_from, {model.path}: a packed model cannot be trained. Give the "
                "checkpoint that it was packed from."
            )
        try:
            load_model(model.tensors, hybrid.segmentor, hybrid.refiner)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"training.start_from, {model.path}: {error}") from error
    elif recipe.segmentor.weights:
        file, partial = recipe.segmentor.weights, recipe.segmentor.partial
        match = load_pretrained(hybrid.segmentor, file, partial)
        say(f"segmentor.weights, {file}: {match}")
    elif recipe.training.segmentor == "frozen" and recipe.segmentor.name not in (OWN, FILES):
        warnings.warn(
            f"the segmentor {recipe.segmentor.name} is frozen, and neither segmentor.weights nor "
            "training.start_from says where its trained weights lie. Unless its options do, the "
            "masks of random weights are refined.",
            stacklevel=2,
        )


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
