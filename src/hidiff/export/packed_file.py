"""One file for a packed model: bits, tables, the segmentor, and the recipe."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from hidiff import weights
from hidiff.export.pack import empty_packed
from hidiff.packed import PackedRefiner
from hidiff.packed.int8 import along_first, to_int8
from hidiff.refiner import Refiner

FORMAT = "hidiff-packed-1"  # of the metadata in the file
SCALE = "_scale"  # ends the name of what int8 weights are to be multiplied by


def _as_it_is(name: str, weight: Tensor) -> dict[str, Tensor]:
    return {name: weight}


def _as_half(name: str, weight: Tensor) -> dict[str, Tensor]:
    return {name: weight.half()}


def _as_int8(name: str, weight: Tensor) -> dict[str, Tensor]:
    numbers, scale = to_int8(weight)
    return {name: numbers, name + SCALE: scale}


STORAGES: dict[str, Callable[[str, Tensor], dict[str, Tensor]]] = {
    "float32": _as_it_is,
    "half": _as_half,
    "int8": _as_int8,
}


def save_packed(
    path: str | Path,
    segmentor: nn.Module,
    refiner: PackedRefiner,
    metadata: Mapping[str, str],
    condition_storage: str = "float32",
    segmentor_storage: str = "float32",
) -> None:
    """Write segmentor and packed refiner.

    The storages (keys of STORAGES) are those of the condition blocks' convolutions, and of the
    segmentor's weights: all its tensors of two axes or more. `metadata` is that of the checkpoint
    that was packed.
    """
    for storage in (condition_storage, segmentor_storage):
        if storage not in STORAGES:
            raise ValueError(f"storage is {storage!r}, but must be one of {', '.join(STORAGES)}")
    tensors: dict[str, Tensor] = {}
    for name, value in segmentor.state_dict().items():
        is_weight = value.ndim >= 2 and value.dtype == torch.float32
        write = STORAGES[segmentor_storage] if is_weight else _as_it_is
        tensors |= write(f"segmentor.{name}", value)
    for name, value in refiner.state_dict().items():
        is_condition = name.startswith("condition_blocks.") and value.ndim == 4
        write = STORAGES[condition_storage] if is_condition else _as_it_is
        tensors |= write(f"refiner.{name}", value)
    words = {
        **metadata,
        "format": FORMAT,
        "condition_storage": condition_storage,
        "condition_compute": refiner.condition_compute,
        "segmentor_storage": segmentor_storage,
        "steps": json.dumps(refiner.table.steps),
    }
    weights.save(path, tensors, words)


def load_packed(
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    segmentor: nn.Module,
    refiner: Refiner,
) -> PackedRefiner:
    """Return the packed refiner of a file; load the segmentor's weights into their places.

    `refiner` is a float one of the recipe, of which the sizes alone are read: it may lie on torch's
    meta device. Raises ValueError for a file that does not fit.
    """
    ours = _unpacked(_under("refiner.", tensors))
    try:
        steps = [int(step) for step in json.loads(metadata["steps"])]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"it does not say for which steps it was packed ({error}). Pack the model again."
        ) from error
    packed = empty_packed(refiner, metadata.get("condition_compute", "float32"))
    times = ours.get("table.times")
    packed.table.allocate(steps, None if times is None else times.shape[1])
    try:
        segmentor.load_state_dict(_unpacked(_under("segmentor.", tensors)))
        packed.load_state_dict(ours, assign=True)
    except RuntimeError as error:
        raise ValueError(
            f"its tensors do not fit its recipe: {str(error).splitlines()[-1].strip()} "
            "Pack the model again."
        ) from error
    return packed.requires_grad_(False).eval()


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return stored weights as float32."""
    found = {}
    scaled = {
        name
        for name, value in tensors.items()
        if value.dtype == torch.int8 and name + SCALE in tensors
    }
    for name, value in tensors.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in scaled:
            continue
        if name in scaled:
            value = value.float() * along_first(tensors[name + SCALE], value)
        found[name] = value.float() if value.dtype == torch.float16 else value
    return found
