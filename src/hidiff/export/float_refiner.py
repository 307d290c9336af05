"""A refiner for other engines: the plain packed one, or a float one with tables of the steps."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hidiff.binary import BINARY, Conv2d, Linear, Precision, TimeLinear
from hidiff.binary.precision import identity
from hidiff.export.pack import pack_refiner
from hidiff.export.plain_norm import with_plain_norms
from hidiff.export.plain_refiner import PlainRefiner
from hidiff.packed import PackedRefiner
from hidiff.refiner import Refiner
from hidiff.refiner.cross_transformer import CrossTransformer


class StepCodes(nn.Module):
    """Replaces the time embedding: turns t in 1..T into a row that is 1 at the place of the step.

    So every time layer is a table of numbers, a column a step. All images of a batch are at the
    same step. The row of a step that is not among `steps` is NaN, and so is its answer.
    """

    codes: Float[Tensor, "steps columns"]

    def __init__(self, steps: Sequence[int], num_steps: int):
        super().__init__()
        codes = torch.full((num_steps + 1, len(steps)), float("nan"))
        codes[list(steps)] = torch.eye(len(steps))
        self.register_buffer("codes", codes)

    def forward(self, t: Tensor) -> Float[Tensor, "1 columns"]:
        return self.codes[t[:1]]


def refiner_for_engines(
    refiner: Refiner | PackedRefiner, steps: Sequence[int], num_steps: int
) -> PlainRefiner | Refiner:
    """Return the same refiner in operators that every engine has, for `steps` of T = `num_steps`.

    A 1-bit one is packed first, if it can be, as whole sums of signs are exact in every engine.
    """
    with torch.no_grad():
        if isinstance(refiner, Refiner):
            binary = refiner.settings.precision == "binary"
            if not binary or not isinstance(refiner.cross, CrossTransformer):
                return _in_tables(refiner, steps, num_steps, binary).requires_grad_(False)
            refiner = pack_refiner(refiner, steps)
        return PlainRefiner(refiner, steps, num_steps).eval().requires_grad_(False)


def _in_tables(refiner: Refiner, steps: Sequence[int], num_steps: int, binary: bool) -> Refiner:
    """Return a copy whose weights are ready to multiply, and whose time layers are tables."""
    plain = copy.deepcopy(refiner).eval()
    with_plain_norms(plain)
    times = plain.embedding(torch.tensor(list(steps)))
    for layer in _modules(plain, TimeLinear):
        layer.weight = nn.Parameter((times @ layer.weight.T + layer.bias).T.contiguous())
        layer.bias.zero_()
    for layer in _modules(plain, Conv2d):
        layer.weight.copy_(layer.precision.conv_weight(layer.weight))
    for layer in _modules(plain, Linear):
        layer.weight.copy_(layer.precision.linear_weight(layer.weight))
    if binary:
        for layer in _modules(plain, Conv2d) + _modules(plain, Linear):
            layer.precision = HALVED
            layer.weight.mul_(2)
    plain.embedding = StepCodes(steps, num_steps)  # pyright: ignore[reportAttributeAccessIssue]
    return plain


def half_sign(x: Tensor) -> Tensor:
    """Return +0.5 where x >= 0, else -0.5."""
    return (x >= 0).to(x.dtype) - 0.5


# Weights are taken as they are, doubled for half signs, which engines make faster than full ones.
HALVED: Precision = replace(
    BINARY, activation=half_sign, conv_weight=identity, linear_weight=identity
)


def _modules(refiner: nn.Module, kind: type) -> list:
    return [module for module in refiner.modules() if isinstance(module, kind)]
