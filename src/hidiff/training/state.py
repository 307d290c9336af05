"""Checkpoints: what prediction needs (model files), and all that a resumed run needs (state file).

Both are safetensors, written whole or not at all. A model file holds the segmentor, the EMA
refiner, and the recipe; a state file also the live refiner and the optimizers.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hidiff import weights


@dataclass
class Progress:
    """Where a run stands."""

    stage: str
    step: int
    """steps done in the stage"""
    best: float | None = None
    """best validation score of the stage"""
    ema_updates: int = 0
    seconds: float = 0.0
    """wall time of the run"""


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
    """Write all that a resumed run needs."""
    tensors = {}
    for name, network in networks.items():
        tensors |= _named(name, network)
    for name, optimizer in optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            for key, value in moments.items():
                tensors[f"optimizer.{name}.{index}.{key}"] = torch.as_tensor(value)
    weights.save(path, tensors, {**metadata, "progress": json.dumps(asdict(progress))})


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
    """Where the run of a state file stood, and its metadata."""
    _, metadata = weights.load(path)
    return Progress(**json.loads(metadata["progress"])), metadata


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
