"""Reads a refiner's checkpoint of the paper's own code into ours.

Every tensor finds its place; what ours does not need is named. The bias of a convolution or
linear layer that a batch norm follows is folded into the norm's running mean, which is the same.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hidiff import weights
from hidiff.refiner.unet import Refiner, RefinerSettings

MARK = "time_embed.0.weight"  # every published refiner has it; what stands before it is a prefix

_BLOCK = {
    r"move1\.bias\.1": "bias",
    r"binary_3x3": "conv",
    r"bn": "norm",
    r"move2\.bias\.1": "activation.before",
    r"prelu\.weight": "activation.slope",
    r"move3\.bias\.1": "activation.after",
}
_CONDITION = {
    r"in_layers\.0": "norm1",
    r"in_layers\.2": "conv1",
    r"emb_layers\.1": "time",
    r"out_layers\.0": "norm2",
    r"out_layers\.2": "conv2",
    r"skip_connection": "skip",
}
_RPRELU = {r"move1\.1": "before", r"prelu\.weight": "slope", r"move2\.1": "after"}
_SCALE = {r"alpha\.1": "scale", r"move\.1": "bias"}


def _under(theirs: str, ours: str, table: Mapping[str, str]) -> dict[str, str]:
    return {rf"{theirs}\.{key}": f"{ours}.{value}" for key, value in table.items()}


def _attention() -> dict[str, str]:
    names = {}
    for letter, name in (("q", "query"), ("k", "key"), ("v", "value")):
        names |= {
            rf"move{letter}1\.1": f"{name}.bias",
            rf"{name}1": f"{name}.linear",
            rf"norm{letter}1": f"{name}.norm",
            rf"move{letter}2\.1": f"{name}_bias",
        }
        names |= _under(rf"rprelu{letter}1", f"{name}.activation", _RPRELU)
    return names | {"norm_context": "norm"} | _under("rprelu_context", "activation", _RPRELU)


def _attention_output() -> dict[str, str]:
    names = {r"dense": "projection.linear", r"move\.1": "projection.bias"}
    names |= {r"norm": "projection.norm"} | _under("rprelu", "projection.activation", _RPRELU)
    return names | _under("layerscale", "scale", _SCALE)


def _feed_forward() -> dict[str, str]:
    names = {"layernorm_after": "norm"}
    for theirs, number in (("intermediate", 1), ("output", 2)):
        names |= {
            rf"{theirs}\.dense": f"linear{number}",
            rf"{theirs}\.move\.1": f"bias{number}",
            rf"{theirs}\.norm": f"norm{number}",
        }
        names |= _under(rf"{theirs}\.rprelu", f"activation{number}", _RPRELU)
    names |= _under(r"output\.layerscale", "scale", _SCALE)
    for index, window in enumerate(("h3", "w3", "h5", "w5")):
        names |= _under(f"layerscale_{window}", f"pool_scales.{index}", _SCALE)
    return names


def _cross() -> dict[str, str]:
    names = _under("condition_conv", "condition", _CONDITION)
    for i in (1, 2):
        names |= {rf"norm_condition{i}": f"image_norm{i}", rf"norm_embedding{i}": f"mask_norm{i}"}
        names |= _under(f"cross_attention{i}", f"attention{i}", _attention())
        names |= _under(f"layerscale{i}", f"output{i}", _attention_output())
        names |= _under(f"fnn{i}", f"feed_forward{i}", _feed_forward())
    return names


def _rules() -> list[tuple[re.Pattern[str], str]]:
    names = {
        r"time_embed\.0": "embedding.first",
        r"time_embed\.2": "embedding.second",
        r"input_conv": "input",
        r"out\.0": "output_norm",
        r"out\.2": "output",
    }
    for i in range(1, 6):
        names |= _under(f"block{i}_conv", f"encoder.{i - 1}", _BLOCK)
        names |= _under(f"block{i}_down", f"downs.{i - 1}", _BLOCK)
        names |= _under(f"up_block{i}_up", f"ups.{i - 1}", _BLOCK)
        names |= _under(f"up_block{i}_conv", f"decoder.{i - 1}", _BLOCK)
    for i in range(1, 4):
        names |= _under(rf"concat{i}\.condition_conv", f"fusions.{i - 1}.condition", _CONDITION)
        names |= _under(f"concat{i}", f"fusions.{i - 1}.block", _BLOCK)
    for i in (1, 2):
        names |= _under(f"middle_block{i}", f"middle{i}", _BLOCK)
    names |= _under("cross1", "cross", _cross())
    # a Down block's convolutions and norms are lists; `part` is the place in it
    return [
        (re.compile(rf"{key}(?:\.(?P<part>[01]))?(?P<rest>\.[a-z_]+)?"), value)
        for key, value in names.items()
    ]


def our_name(published: str) -> tuple[str, int] | None:
    """Return our name and the place among its parts, or None if we do not need the tensor."""
    for pattern, ours in _rules():
        if match := pattern.fullmatch(published):
            return ours + (match["rest"] or ""), int(match["part"] or 0)
    return None


@dataclass(frozen=True)
class Published:
    """A refiner read from the paper's checkpoint, and what became of each tensor."""

    refiner: Refiner
    mapped: dict[str, str]
    """published name -> our name (a folded bias: the running mean it went into)"""
    dropped: tuple[str, ...]
    """published names that ours does not need"""


def read_published(path: str | Path) -> Published:
    """Read a checkpoint of the paper's code, and refuse pickled code in it.

    Raises ValueError, which names the file, if it is no such checkpoint or lacks a tensor.
    """
    tensors = weights.load_foreign(path)
    try:
        return from_state_dict(tensors)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: {error}") from error


def from_state_dict(tensors: Mapping[str, Tensor]) -> Published:
    """Return the refiner of a published state dict, with its sizes, in eval mode."""
    prefix = next((key.removesuffix(MARK) for key in tensors if key.endswith(MARK)), None)
    if prefix is None:
        raise ValueError(
            f"no tensor is named {MARK}, so this is no refiner of the paper's code. "
            f"It holds {len(tensors)} tensors, the first {next(iter(tensors), 'none')!r}."
        )
    parts: dict[str, dict[int, Tensor]] = {}
    mapped: dict[str, str] = {}
    dropped: list[str] = []
    for key, tensor in tensors.items():
        found = our_name(key.removeprefix(prefix)) if key.startswith(prefix) else None
        if found is None:
            dropped.append(key)
            continue
        ours, part = found
        parts.setdefault(ours, {})[part] = tensor
        mapped[key] = ours
    state = {
        name: torch.cat([each[i] for i in sorted(each)]) if each[0].ndim else each[0]
        for name, each in parts.items()
    }
    folded = _fold_biases(state)
    mapped = {key: folded.get(ours, ours) for key, ours in mapped.items()}
    refiner = _empty_refiner(state)
    refiner.load_state_dict(state)
    return Published(refiner.eval(), mapped, tuple(dropped))


def _fold_biases(state: dict[str, Tensor]) -> dict[str, str]:
    """Take biases in front of batch norms out, into the running means. Returns what went where."""
    folded = {}
    for name in list(state):
        match = re.fullmatch(r"(.*?)(conv|linear)(\d?)\.bias", name)
        if match is None or f"{match[1]}norm{match[3]}.running_mean" not in state:
            continue
        mean = f"{match[1]}norm{match[3]}.running_mean"
        state[mean] = state[mean] - state.pop(name)
        folded[name] = mean
    return folded


def _empty_refiner(state: Mapping[str, Tensor]) -> Refiner:
    planes = state["output.weight"].shape[0]
    width, inputs = state["input.weight"].shape[:2]
    blocks = [*(f"fusions.{i}.condition" for i in range(3)), "cross.condition"]
    return Refiner(
        image_channels=inputs - 2 * planes,
        num_planes=planes,
        feature_channels=[state[f"{block}.conv1.weight"].shape[1] for block in blocks],
        settings=RefinerSettings(width=width, condition="each_step", published_layout=True),
    )
