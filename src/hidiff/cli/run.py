"""A training run and its folder: may it go on there, what is removed, what comes next."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import typer

from hidiff import weights
from hidiff.cli.errors import Mistake
from hidiff.cli.options import Device, choose_device
from hidiff.cli.say import error_console, say, warn
from hidiff.cli.stopping import INTERRUPTED, TERMINATED
from hidiff.datasets.splits import SPLITS, Split
from hidiff.experiment import MODELS, Experiment, train_experiment
from hidiff.images import first_file, prior_folder
from hidiff.recipe import Recipe, make_recipe
from hidiff.report.files import result_files
from hidiff.segmentors import FILES
from hidiff.training import TrainingStopped
from hidiff.training.state import find_state, has_state

BOARD = "tensorboard"
# Settings that cannot change when a run goes on; such a run would be another experiment.
FIXED = (
    "seed", "labels", "segmentor", "refiner", "diffusion", "training.arm", "training.segmentor"
)  # fmt: skip


def train_into(
    settings: Recipe,
    folder: Path,
    words: str,
    *,
    resume: bool,
    overwrite: bool,
    device: Device,
) -> Experiment:
    """Train in a folder. `words` are the command's own, shown to resume it after it is stopped.

    Raises FileExistsError for a run that would be lost, and Mistake for one that cannot go on as
    this recipe says.
    """
    if resume and overwrite:
        raise Mistake("--resume goes on with a run and --overwrite removes it: give one only.")
    choose_device(device)  # says so at once if there is none
    experiment = Experiment(settings, folder, resume=resume, cpu=device is Device.CPU)
    _ = experiment.splits  # fails, if it must, before anything is removed
    make_room(experiment, overwrite=overwrite)
    try:
        train_experiment(experiment)
    except KeyboardInterrupt:
        go_on = f"Go on with: hidiff train {words} --resume"
        how = go_on if has_state(folder) else "Nothing was saved yet."
        error_console.print(f"Stopped. {how}", soft_wrap=True, markup=False)
        raise typer.Exit(INTERRUPTED) from None
    except TrainingStopped as stop:
        text = f"{stop}, which is saved. Go on with: hidiff train {words} --resume"
        error_console.print(text, soft_wrap=True, markup=False)
        raise typer.Exit(TERMINATED) from None
    return experiment


def say_what_is_next(experiment: Experiment) -> None:
    """Print where the models lie, and the commands that use them."""
    if not experiment.is_first_process:
        return
    folder = experiment.folder
    models = [name for name in MODELS if (folder / name).is_file()]
    say(f"Models: {folder}: {', '.join(models)}")
    run = shlex.quote(str(folder))
    split: Split = next(split for split in SPLITS[::-1] if experiment.splits[split])
    say(f"Test:   hidiff evaluate {run}{'' if split == 'test' else f' --split {split}'}")
    case = experiment.splits[split][0]
    image = first_file(case.image)
    # a folder of DICOM is an image: folders below the one that is named are not searched
    images = shlex.quote(str(image if image.is_dir() else image.parent))
    if experiment.recipe.segmentor.name == FILES and case.prior is not None:
        priors = shlex.quote(str(prior_folder(case.prior)))
        say(f"Use:    hidiff refine {run} {images} --prior {priors} --output masks")
    else:
        say(f"Use:    hidiff predict {run} {images} --output masks")


def make_room(experiment: Experiment, *, overwrite: bool) -> None:
    """Check that the run may be written to its folder, and empty that with `overwrite`."""
    if not experiment.is_first_process:
        return
    if overwrite:
        files = experiment.run_files
        check_not_started_from(experiment.recipe, files)
        results = [file for split in SPLITS for file in result_files(experiment.folder / split)]
        for file in [*files, *results]:
            file.unlink()
        shutil.rmtree(experiment.folder / BOARD, ignore_errors=True)
    elif experiment.resume:
        check_resumed(experiment.recipe, experiment.folder)
    else:
        experiment.check_free()


def check_resumed(recipe: Recipe, folder: Path) -> None:
    """Warn of settings that differ from those that the run was begun with; refuse some."""
    state = find_state(folder)
    if state is None:
        warn(f"{folder} holds no run to go on with, so this one starts from the beginning.")
        return
    metadata = weights.load_metadata(state)
    # as a recipe, for the defaults of settings that are younger than the run
    before = flat(make_recipe(json.loads(metadata["recipe"]), str(state)).model_dump(mode="json"))
    now = flat(recipe.model_dump(mode="json"))
    changed = sorted(
        name for name in before.keys() | now.keys() if before.get(name) != now.get(name)
    )
    if wrong := [name for name in changed if name.startswith(FIXED)]:
        lines = "; ".join(f"{name} was {before.get(name)}, is {now.get(name)}" for name in wrong)
        raise Mistake(
            f"{folder} cannot go on as another experiment ({lines}). Set it back, or train beside "
            "it: --set name=ANOTHER."
        )
    for name in changed:
        warn(f"{name} was {before.get(name)} and is {now.get(name)} from here on.")


def check_not_started_from(recipe: Recipe, removed: list[Path]) -> None:
    """Raise Mistake if the weights to start from are among the files to remove."""
    for source in (recipe.segmentor.weights, recipe.training.start_from):
        if source is None:
            continue
        place = Path(source).resolve()
        if place in [each for file in removed for each in (file.resolve(), file.parent.resolve())]:
            raise Mistake(
                f"the run starts from {source}, which --overwrite would remove. "
                "Give it another name: --set name=ANOTHER."
            )


def flat(settings: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested settings by their dotted names."""
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            values |= flat(value, f"{above}{name}.")
        else:
            values[f"{above}{name}"] = value
    return values
