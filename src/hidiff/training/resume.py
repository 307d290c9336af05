"""A run that goes on: where it stands, and whether it may go on from there."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from hidiff.training import state
from hidiff.training.conditions import differences
from hidiff.training.state import STATE_FILE, UNREADABLE_STATE_FILE, Progress

if TYPE_CHECKING:  # a checkpoint is loaded through this package, and needs no Accelerate
    import accelerate


class Resumed(NamedTuple):
    """A state file that a run goes on from."""

    progress: Progress
    file: Path


def find_resumed(
    folder: Path,
    stages: Sequence[str],
    conditions: Mapping[str, str],
    accelerator: "accelerate.Accelerator",
) -> Resumed | None:
    """Return the state from which the run in a folder continues, or None if there is none.

    Raises ValueError if the state belongs to other stages. Warns if torch, threads or other
    conditions have changed: the run then continues, but not to the same bits.
    """
    file = state.find_state(folder)
    if file is None:
        return None
    progress, metadata = state.read_progress(file)
    if progress.stage not in stages:
        raise ValueError(
            f"the run in {folder} stands in stage {progress.stage}, but this recipe's "
            f"stages are {', '.join(stages)}. Resume with the recipe that it was begun "
            "with, or train into a new folder."
        )
    changed = differences(metadata, conditions)
    if changed and accelerator.is_main_process:
        warnings.warn(
            f"{'; '.join(changed)}. The run goes on, but not bit for bit as it would have.",
            stacklevel=3,
        )
    return Resumed(progress, file)


def check_together(
    folder: Path,
    stages: Sequence[str],
    progress: Progress | None,
    accelerator: "accelerate.Accelerator",
) -> None:
    """Raise ValueError unless all processes found the run at the same step."""
    step = (stages.index(progress.stage), progress.step) if progress else (-1, 0)
    steps = accelerator.gather(torch.tensor([step], device=accelerator.device))
    assert isinstance(steps, Tensor)
    if (steps != steps[0]).any():
        raise ValueError(
            f"the processes found the run in {folder} at different steps. All machines "
            "must see one folder, on a disk that they share."
        )


def set_aside_unreadable(
    folder: Path, resumed: Resumed | None, accelerator: "accelerate.Accelerator"
) -> None:
    """Keep a latest state that does not read under another name.

    Otherwise the next checkpoint would move it over the one before, which does read.
    """
    latest = folder / STATE_FILE
    if (
        accelerator.is_main_process
        and resumed is not None
        and resumed.file != latest
        and latest.is_file()
    ):
        latest.replace(folder / UNREADABLE_STATE_FILE)
