"""A training run in its folder: is it free, may it go on, how is it emptied, what comes next."""

import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import typer

from hidiff import experiment, weights
from hidiff.cli.errors import Mistake
from hidiff.cli.options import Device, choose_device
from hidiff.cli.say import error_console, say, warn
from hidiff.datasets.splits import SPLITS
from hidiff.recipe import Recipe, make_recipe
from hidiff.report.results import result_files
from hidiff.training.state import find_state, has_state

BOARD = "tensorboard"
INTERRUPTED = 130  # exit code, as shells have it for Ctrl-C
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
) -> None:
    """Train in a folder that is free for it; `words` are the command's, to go on after Ctrl-C."""
    choose_device(device)  # says so at once if there is none
    experiment.list_splits(settings)  # before anything is removed
    make_room(settings, folder, resume=resume, overwrite=overwrite)
    try:
        experiment.train(settings, folder, resume=resume, cpu=device is Device.CPU)
    except KeyboardInterrupt:
        go_on = f"Go on with: hidiff train {words} --resume"
        how = go_on if has_state(folder) else "Nothing was saved yet."
        error_console.print(f"Stopped. {how}", soft_wrap=True, markup=False)
        raise typer.Exit(INTERRUPTED) from None


def say_what_is_next(folder: Path) -> None:
    """Where the models lie, and the commands that use them."""
    if not is_first_process():
        return
    found = [name for name in experiment.MODELS if (folder / name).is_file()]
    say(f"Models: {folder}: {', '.join(found)}")
    say(f"Judge:  hidiff evaluate {shlex.quote(str(folder))}")
    say(f"Use:    hidiff predict {shlex.quote(str(folder))} IMAGES --output masks")


def is_first_process() -> bool:
    """Under torchrun only the first process looks after the folder."""
    return os.environ.get("RANK", "0") == "0"


def make_room(recipe: Recipe, folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Check that a run may be written to `folder`, and empty it with `overwrite`.

    Raises FileExistsError for a run that would be lost, and Mistake for one that cannot go on
    as this recipe says.
    """
    if not is_first_process():
        return
    if resume and overwrite:
        raise Mistake("--resume goes on with a run and --overwrite removes it: give one only.")
    there = experiment.list_run_files(folder)
    if resume:
        check_resumed(recipe, folder)
    elif there and not overwrite:
        raise FileExistsError(
            f"{folder} holds a run already. Go on with it: --resume. Lose it and train anew: "
            "--overwrite. Keep it and train beside it: --set name=ANOTHER."
        )
    elif overwrite:
        check_not_started_from(recipe, there)
        results = [file for split in SPLITS for file in result_files(folder / split)]
        for file in [*there, *results]:
            file.unlink()
        shutil.rmtree(folder / BOARD, ignore_errors=True)


def check_resumed(recipe: Recipe, folder: Path) -> None:
    """Say which settings differ from those that the run was begun with; refuse some."""
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
    """Nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= flat(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value
    return found
