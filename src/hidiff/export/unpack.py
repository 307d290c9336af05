"""A refiner for other engines: floats alone, and a plain table of what depends on the step."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hidiff.binary import BINARY, Conv2d, Linear, Precision, RPReLU, TimeLinear
from hidiff.binary.precision import identity
from hidiff.export.walk import Norm, Walk
from hidiff.packed import PackedRefiner
from hidiff.packed.cross_transformer import PackedAttention
from hidiff.packed.layout import attention_thresholds, unpack_bits
from hidiff.packed.modules import Affine, PackedLayer
from hidiff.refiner import Refiner
from hidiff.refiner.attention import NUM_HEADS, CrossAttention

# Added to a packed refiner's folded batch norms, whose variance must be 1 with it.
EPSILON = nn.BatchNorm2d(1).eps


class StepCodes(nn.Module):
    """Replaces the time embedding: turns t in 1..T into a row that is 1 at the place of the step.

    So every time layer is a table of numbers, a column a step. All images of a batch are at the
    same step. The row of a step that the model was not packed for is NaN, and so is its answer.
    """

    codes: Float[Tensor, "steps columns"]

    def __init__(self, steps: Sequence[int], num_steps: int):
        super().__init__()
        codes = torch.full((num_steps + 1, len(steps)), float("nan"))
        codes[list(steps)] = torch.eye(len(steps))
        self.register_buffer("codes", codes)

    def forward(self, t: Tensor) -> Float[Tensor, "1 columns"]:
        return self.codes[t[:1]]


def plain_refiner(
    refiner: Refiner | PackedRefiner, blank: Refiner, steps: Sequence[int], num_steps: int
) -> Refiner:
    """Return the same refiner in floats, for `steps` of T = `num_steps`.

    1-bit weights are +1 and -1 times a scale, ready to multiply, and a 1-bit attention compares
    whole numbers, so that another engine's rounding cannot turn a tie. `blank` is an untrained
    refiner of the same recipe, which a packed one is read into; it is used up.
    """
    with torch.no_grad():
        if isinstance(refiner, PackedRefiner):
            plain = blank.eval()
            _Unpacking(plain, refiner, steps).unpack()
        else:
            plain = copy.deepcopy(refiner).eval()
            times = plain.embedding(torch.tensor(list(steps)))
            for layer in _modules(plain, TimeLinear):
                layer.weight = nn.Parameter((times @ layer.weight.T + layer.bias).T.contiguous())
                layer.bias.zero_()
            for layer in _modules(plain, Conv2d):
                layer.weight.copy_(layer.precision.conv_weight(layer.weight))
            for layer in _modules(plain, Linear):
                layer.weight.copy_(layer.precision.linear_weight(layer.weight))
        plain.embedding = StepCodes(steps, num_steps)  # pyright: ignore[reportAttributeAccessIssue]
        if plain.settings.precision == "binary":
            _settle(plain)
    return plain.requires_grad_(False)


def _settle(refiner: Refiner) -> None:
    """Let attentions compare whole numbers, and 1-bit layers multiply half signs by 2 * weight.

    The products are the same, and engines make half a sign faster (a comparison, a cast and a
    subtraction) than they choose between two numbers.
    """
    for layer in _modules(refiner, Conv2d) + _modules(refiner, Linear):
        layer.precision = HALVED
        layer.weight.mul_(2)
    for attention in _modules(refiner, CrossAttention):
        head_dim = attention.query.linear.out_features // NUM_HEADS
        attention.precision = replace(SETTLED, attention=_ExactAttention(head_dim))


def half_sign(x: Tensor) -> Tensor:
    """Return +0.5 where x >= 0, else -0.5."""
    return (x >= 0).to(x.dtype) - 0.5


# Weights are taken as they are; signs in full, or half of them for doubled weights.
SETTLED: Precision = replace(BINARY, conv_weight=identity, linear_weight=identity)
HALVED: Precision = replace(SETTLED, activation=half_sign)


class _ExactAttention:
    """The attention of `above_threshold`, for scores that are whole numbers over sqrt(head_dim)."""

    def __init__(self, head_dim: int):
        self.head_dim = head_dim
        self.thresholds = attention_thresholds(head_dim).float()

    def __call__(self, scores: Tensor) -> Tensor:
        whole = (scores * self.head_dim**0.5).round()
        largest = whole.amax(dim=-1, keepdim=True)
        return (whole > self.thresholds[(largest + self.head_dim).long()]).to(scores.dtype)


class _Unpacking(Walk):
    """Fills a float refiner, whose time layers become tables, from packed modules."""

    def __init__(self, refiner: Refiner, packed: PackedRefiner, steps: Sequence[int]):
        super().__init__(refiner, packed)
        self.rows = torch.stack([packed.table.row(step) for step in steps])
        for layer in _modules(refiner, TimeLinear):
            layer.weight = nn.Parameter(torch.zeros(layer.out_features, len(steps)))
            layer.bias.zero_()

    def unpack(self) -> None:
        """Visit all parts, then copy those that stay float."""
        self.run()
        ours, theirs = self.packed, self.refiner
        for name in ("input", "output_norm", "output", "image_encoder", "fine_encoder"):
            setattr(theirs, name, copy.deepcopy(getattr(ours, name)))
        theirs.hint_input = copy.deepcopy(ours.hint_input)
        for block, packed in zip(theirs.condition_blocks, ours.condition_blocks, strict=True):
            # those that compute in int8 have the same weights by the same names
            block.load_state_dict(packed.state_dict(), strict=False)

    def put(
        self,
        part: slice,
        layer: TimeLinear,
        plus: Tensor | float = 0.0,
        outputs: slice = slice(None),
    ) -> None:
        layer.weight[outputs] = (self.rows[:, part] - plus).T

    def layer(
        self, ours: PackedLayer, theirs: Conv2d | Linear, norm: Norm, activation: RPReLU
    ) -> None:
        signs = 2 * unpack_bits(ours.signs, ours.in_channels).float() - 1
        theirs.weight.copy_(signs.transpose(1, 2).reshape(theirs.weight.shape))
        self._norm(norm, ours.scale)
        self._rprelu(ours, activation)

    def summed(self, ours: PackedAttention, theirs: CrossAttention) -> None:
        self._norm(theirs.norm, ours.scale)
        self._rprelu(ours, theirs.activation)

    def norm(self, ours: Affine, theirs: Norm) -> None:
        self._norm(theirs, ours.scale, ours.shift)

    def _rprelu(self, ours: PackedLayer | PackedAttention, activation: RPReLU) -> None:
        activation.slope.copy_(ours.slope)
        self.put(ours.offset, activation.before)
        self.put(ours.after, activation.after)

    def _norm(self, norm: Norm, scale: Tensor, shift: Tensor | None = None) -> None:
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - EPSILON)
        norm.weight.copy_(scale)
        norm.bias.zero_() if shift is None else norm.bias.copy_(shift)


def _modules(refiner: nn.Module, kind: type) -> list:
    return [module for module in refiner.modules() if isinstance(module, kind)]
