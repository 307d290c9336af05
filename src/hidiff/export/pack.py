"""A trained refiner -> packed modules: weights to bits, all that follows folded into numbers."""

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hidiff.binary import Conv2d, Linear, RPReLU, TimeLinear
from hidiff.export.walk import Norm, Walk
from hidiff.packed import COMPUTES, PackedRefiner, Shape, choose_engine, pack_weight
from hidiff.packed.cross_transformer import PackedAttention
from hidiff.packed.modules import Affine, PackedLayer
from hidiff.refiner import Refiner
from hidiff.refiner.attention import NUM_HEADS, CrossAttention
from hidiff.refiner.blocks import ConditionBlock
from hidiff.refiner.cross_transformer import FFN_RATIO, POOL_WINDOWS, CrossTransformer
from hidiff.refiner.unet import CHANNEL_FACTORS


def pack_refiner(
    refiner: nn.Module, steps: Sequence[int], condition_compute: str = "float32"
) -> PackedRefiner:
    """Return the same refiner on bits, for prediction at `steps` (t in 1..T).

    `condition_compute`, a key of COMPUTES, is of the condition blocks' 3x3 convolutions. Raises
    ValueError for a refiner whose layers are real, or one that is packed already, and where this
    machine cannot compute so.
    """
    if not isinstance(refiner, Refiner):
        raise ValueError(
            f"{type(refiner).__name__} is no refiner that can be packed. Give that of a checkpoint."
        )
    if refiner.settings.precision != "binary":
        raise ValueError(
            f"the refiner is {refiner.settings.precision}, but only a 1-bit one can be packed: "
            "train it with refiner.precision=binary."
        )
    if not isinstance(refiner.cross, CrossTransformer):
        raise ValueError(
            f"the refiner's exchange is {refiner.settings.exchange}, but only one with a cross "
            "transformer can be packed: train it with refiner.exchange=cross_transformer."
        )
    packed = empty_packed(refiner, condition_compute)
    with torch.no_grad():
        _Packing(refiner, packed).pack(steps)
    return packed.requires_grad_(False).eval()


def empty_packed(refiner: Refiner, condition_compute: str = "float32") -> PackedRefiner:
    """Return packed modules of the refiner's sizes, whose numbers are still to be filled in.

    The kernel that they run on is chosen here. The layers that stay float are copied.
    """
    if condition_compute not in COMPUTES:
        raise ValueError(
            f"condition_compute is {condition_compute!r}, but must be one of {', '.join(COMPUTES)}"
        )
    blocks = [_without_time(block) for block in refiner.condition_blocks]
    for block in blocks:
        for name in ("conv1", "conv2"):
            block.register_module(name, COMPUTES[condition_compute](getattr(block, name)))
    shape = Shape(
        channels=tuple(refiner.settings.width * factor for factor in CHANNEL_FACTORS),
        first_fusion=refiner.first_fusion,
        num_heads=NUM_HEADS,
        ffn_ratio=FFN_RATIO,
        pool_windows=POOL_WINDOWS,
        published_layout=refiner.settings.published_layout,
    )
    return PackedRefiner(
        shape,
        choose_engine(),
        input=copy.deepcopy(refiner.input),
        condition_blocks=blocks,
        output_norm=copy.deepcopy(refiner.output_norm),
        output=copy.deepcopy(refiner.output),
        image_encoder=copy.deepcopy(refiner.image_encoder),
        fine_encoder=copy.deepcopy(refiner.fine_encoder),
        hint_input=copy.deepcopy(refiner.hint_input),
        condition_compute=condition_compute,
    )


def _without_time(block: ConditionBlock) -> ConditionBlock:
    """Return a copy whose factors and shifts of t come from the table."""
    # made shallow first: its time layer is as large as its convolutions
    copied = copy.copy(block)
    copied._modules = {**block._modules, "time": nn.Identity()}
    return copy.deepcopy(copied)


class _Packing(Walk):
    """Fills packed modules from the float ones, and collects what depends on t as it goes."""

    def __init__(self, refiner: Refiner, packed: PackedRefiner):
        super().__init__(refiner, packed)
        size, time_channels = packed.table.size, refiner.embedding.channels
        self.weight = torch.empty(size, time_channels)
        self.bias = torch.empty(size)

    def pack(self, steps: Sequence[int]) -> None:
        """Visit all parts, then tabulate what depends on t."""
        self.run()
        times = self.refiner.embedding(torch.tensor(list(steps)))
        self.packed.table.tabulate(steps, self.weight, self.bias, times)

    def put(
        self,
        part: slice,
        layer: TimeLinear,
        plus: Tensor | float = 0.0,
        outputs: slice = slice(None),
    ) -> None:
        """Put the numbers that a time layer adds, and a constant on top of them."""
        self.weight[part] = layer.weight[outputs]
        self.bias[part] = layer.bias[outputs] + plus

    def layer(
        self, ours: PackedLayer, theirs: Conv2d | Linear, norm: Norm, activation: RPReLU
    ) -> None:
        weight = theirs.weight
        scale = weight.abs().mean(dim=tuple(range(1, weight.ndim)))
        if isinstance(theirs, Linear):  # each row less its mean before the sign
            weight = weight - weight.mean(dim=1, keepdim=True)
        factor, shift = folded(norm)
        ours.signs.copy_(pack_weight(weight).signs)
        ours.scale.copy_(scale * factor)
        self._rprelu(ours, shift, activation)

    def summed(self, ours: PackedAttention, theirs: CrossAttention) -> None:
        factor, shift = folded(theirs.norm)
        ours.scale.copy_(factor)
        self._rprelu(ours, shift, theirs.activation)

    def norm(self, ours: Affine, theirs: Norm) -> None:
        factor, shift = folded(theirs)
        ours.scale.copy_(factor)
        ours.shift.copy_(shift)

    def _rprelu(
        self, ours: PackedLayer | PackedAttention, shift: Tensor, activation: RPReLU
    ) -> None:
        ours.slope.copy_(activation.slope)
        self.put(ours.offset, activation.before, plus=shift)
        self.put(ours.after, activation.after)


def folded(norm: Norm) -> tuple[Float[Tensor, "c"], Float[Tensor, "c"]]:
    """Return a batch norm that no longer learns, as x * factor + shift."""
    assert norm.running_mean is not None and norm.running_var is not None
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return factor, norm.bias - norm.running_mean * factor
