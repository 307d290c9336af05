"""Checkpoints: what prediction needs (model files), and all that a resumed run needs (state file).

Both are safetensors, written whole or not at all. A model file holds the segmentor, the EMA
refiner, and the recipe; a state file also the live refiner and the optimizers. Of states the last
two are kept, so that one that does not read is not the end of a run.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hidiff import weights

STATE_FILE = "state.safetensors"
FORMER_STATE_FILE = "state_before.safetensors"
UNREADABLE_STATE_FILE = "state_unreadable.safetensors"


@dataclass
class Progress:
    """The progress of a run."""

    stage: str
    step: int
    """steps done in the stage"""
    best: float | None = None
    """best validation score of the stage"""
    ema_updates: int = 0
    seconds: float = 0.0
    """wall time of the run"""
    unvalidated: bool = False
    """True if the validation that is due at this step was broken off"""


def save_model(
    path: Path, segmentor: nn.Module, refiner: nn.Module, metadata: Mapping[str, str]
) -> None:
    """Write what prediction needs."""
    tensors = {**_named("segmentor", segmentor), **_named("refiner", refiner)}
    weights.save(path, tensors, metadata)


def load_model(tensors: Mapping[str, Tensor], segmentor: nn.Module, refiner: nn.Module) -> None:
    """Put the tensors of a model file in their places."""
    _restore("segmentor", segmentor, tensors)
    _restore("refiner", refiner, tensors)


def save_state(
    path: Path,
    progress: Progress,
    networks: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    metadata: Mapping[str, str],
) -> None:
    """Write all that a resumed run needs; the state that it replaces becomes state_before."""
    tensors = {}
    for name, network in networks.items():
        tensors |= _named(name, network)
    for name, optimizer in optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            for key, value in moments.items():
                tensors[f"optimizer.{name}.{index}.{key}"] = torch.as_tensor(value)
    words = {**metadata, "progress": json.dumps(asdict(progress))}
    weights.save(path, tensors, words, former=path.with_name(FORMER_STATE_FILE))


def load_state(
    path: Path,
    networks: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
) -> None:
    """Put everything of a state file back where it was."""
    tensors, _ = weights.load(path)
    for name, network in networks.items():
        _restore(name, network, tensors)
    for name, optimizer in optimizers.items():
        content = optimizer.state_dict()
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _under(f"optimizer.{name}", tensors).items():
            index, moment = key.split(".")
            moments.setdefault(int(index), {})[moment] = value
        optimizer.load_state_dict({**content, "state": moments})


def read_progress(path: Path) -> tuple[Progress, dict[str, str]]:
    """Read the progress and the metadata of a state file. Raises ValueError, naming the file."""
    metadata = weights.load_metadata(path)
    try:
        return Progress(**json.loads(metadata["progress"])), metadata
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} does not say where its run stood ({type(error).__name__}: {error}), so it is "
            "no state of hidiff train. Put the run's own file back, or begin anew."
        ) from error


def has_state(folder: Path) -> bool:
    """Return True if a run has left a state in its folder, readable or not."""
    return any((folder / name).is_file() for name in (STATE_FILE, FORMER_STATE_FILE))


def find_state(folder: Path) -> Path | None:
    """Return the latest state of a run that can be read whole; None if there is none at all.

    One that does not read is passed over for the one before, with a warning. Raises ValueError
    if there are states and none of them reads.
    """
    found = [folder / name for name in (STATE_FILE, FORMER_STATE_FILE)]
    found = [path for path in found if path.is_file()]
    problems = []
    for path in found:
        try:
            progress, _ = read_progress(path)
        except ValueError as error:
            problems.append(str(error))
            continue
        if problems:
            warnings.warn(
                f"{problems[0]} It is passed over: the run goes on from {path.name}, step "
                f"{progress.step} of {progress.stage}.",
                stacklevel=2,
            )
        return path
    if problems:
        raise ValueError(
            f"{folder} holds a run, but none of its states reads: {' '.join(problems)} "
            "Begin anew with --overwrite, or from its models with training.start_from."
        )
    return None


def _named(prefix: str, network: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in network.state_dict().items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = prefix + "."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def _restore(name: str, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    found, wanted = _under(name, tensors), network.state_dict()
    missing, unexpected = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    resized = [n for n in wanted.keys() & found.keys() if wanted[n].shape != found[n].shape]
    wrong = sorted([*missing, *unexpected, *resized])
    if wrong:
        raise ValueError(
            f"the checkpoint's {name} is of another shape than the recipe's: {len(missing)} "
            f"tensors missing, {len(unexpected)} too many, {len(resized)} of another size, such "
            f"as {wrong[0]!r}. Use the recipe that it was trained with, or train anew."
        )
    network.load_state_dict(found)
