"""A trained refiner -> packed modules: weights to bits, all that follows folded into numbers."""

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hidiff.binary import RPReLU, TimeLinear, TimeScale
from hidiff.packed import COMPUTES, PackedRefiner, Shape, choose_engine, pack_weight
from hidiff.packed.cross_transformer import (
    PackedAttention,
    PackedCrossTransformer,
    PackedFeedForward,
    PackedOutput,
)
from hidiff.packed.modules import Affine, PackedLayer, TimeAffine
from hidiff.refiner import Refiner
from hidiff.refiner.attention import NUM_HEADS, AttentionOutput, CrossAttention, Projection
from hidiff.refiner.blocks import Block, ConditionBlock, Down
from hidiff.refiner.cross_transformer import (
    FFN_RATIO,
    POOL_WINDOWS,
    CrossTransformer,
    FeedForward,
)
from hidiff.refiner.unet import CHANNEL_FACTORS

Norm = nn.BatchNorm1d | nn.BatchNorm2d


def pack_refiner(
    refiner: nn.Module, steps: Sequence[int], condition_compute: str = "float32"
) -> PackedRefiner:
    """The same refiner on bits, for prediction at `steps` (t in 1..T).

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
        _Packing(refiner, packed).run(steps)
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
    """A copy whose factors and shifts of t come from the table."""
    # made shallow first: its time layer is as large as its convolutions
    copied = copy.copy(block)
    copied._modules = {**block._modules, "time": nn.Identity()}
    return copy.deepcopy(copied)


class _Packing:
    """Fills packed modules from the float ones, and collects what depends on t as it goes."""

    def __init__(self, refiner: Refiner, packed: PackedRefiner):
        self.refiner, self.packed = refiner, packed
        size, time_channels = packed.table.size, refiner.embedding.channels
        self.weight = torch.empty(size, time_channels)
        self.bias = torch.empty(size)

    def run(self, steps: Sequence[int]) -> None:
        refiner, packed = self.refiner, self.packed
        for block, (factor, shift) in zip(
            refiner.condition_blocks, packed.modulations, strict=True
        ):
            channels = factor.stop - factor.start
            self.put(factor, block.time, plus=1.0, outputs=slice(channels))
            self.put(shift, block.time, outputs=slice(channels, None))
        blocks = [
            *zip(packed.encoder, refiner.encoder, strict=True),
            *zip(packed.fusions, (fusion.block for fusion in refiner.fusions), strict=True),
            *zip(packed.downs, refiner.downs, strict=True),
            (packed.middle1, refiner.middle1),
            (packed.middle2, refiner.middle2),
            *zip(packed.ups, refiner.ups, strict=True),
            *zip(packed.decoder, refiner.decoder, strict=True),
        ]
        for ours, theirs in blocks:
            self.block(ours, theirs)
        assert isinstance(refiner.cross, CrossTransformer)
        self.cross(packed.cross, refiner.cross)
        times = refiner.embedding(torch.tensor(list(steps)))
        packed.table.tabulate(steps, self.weight, self.bias, times)

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

    def block(self, ours: PackedLayer, theirs: Block | Down) -> None:
        scale = theirs.conv.weight.abs().mean(dim=(1, 2, 3))
        self.put(ours.threshold, theirs.bias)
        self.layer(ours, theirs.conv.weight, scale, theirs.norm, theirs.activation)

    def linear(
        self, ours: PackedLayer, weight: Tensor, norm: Norm, activation: RPReLU, bias: TimeLinear
    ) -> None:
        """A linear layer: each row less its mean before the sign, scaled by its own magnitude."""
        self.put(ours.threshold, bias)
        centred = weight - weight.mean(dim=1, keepdim=True)
        self.layer(ours, centred, weight.abs().mean(dim=1), norm, activation)

    def layer(
        self, ours: PackedLayer, weight: Tensor, scale: Tensor, norm: Norm, activation: RPReLU
    ) -> None:
        factor, shift = folded(norm)
        ours.signs.copy_(pack_weight(weight).signs)
        ours.scale.copy_(scale * factor)
        self.rprelu(ours, shift, activation)

    def rprelu(
        self, ours: PackedLayer | PackedAttention, shift: Tensor, activation: RPReLU
    ) -> None:
        ours.slope.copy_(activation.slope)
        self.put(ours.offset, activation.before, plus=shift)
        self.put(ours.after, activation.after)

    def projection(self, ours: PackedLayer, theirs: Projection) -> None:
        self.linear(ours, theirs.linear.weight, theirs.norm, theirs.activation, theirs.bias)

    def time_affine(self, ours: TimeAffine, theirs: TimeScale) -> None:
        self.put(ours.scale, theirs.scale)
        self.put(ours.bias, theirs.bias)

    def attention(self, ours: PackedAttention, theirs: CrossAttention) -> None:
        for name in ("query", "key", "value"):
            self.projection(getattr(ours, name), getattr(theirs, name))
            self.put(getattr(ours, f"{name}_bias"), getattr(theirs, f"{name}_bias"))
        factor, shift = folded(theirs.norm)
        ours.scale.copy_(factor)
        self.rprelu(ours, shift, theirs.activation)

    def output(self, ours: PackedOutput, theirs: AttentionOutput) -> None:
        self.projection(ours.projection, theirs.projection)
        self.time_affine(ours.scale, theirs.scale)

    def feed_forward(self, ours: PackedFeedForward, theirs: FeedForward) -> None:
        fold_into(ours.norm, theirs.norm)
        for number in ("1", "2"):
            weight = getattr(theirs, f"linear{number}").weight
            rest = (getattr(theirs, name + number) for name in ("norm", "activation", "bias"))
            self.linear(getattr(ours, f"linear{number}"), weight, *rest)
        self.time_affine(ours.scale, theirs.scale)
        for our_scale, their_scale in zip(ours.pool_scales, theirs.pool_scales, strict=True):
            assert isinstance(our_scale, TimeAffine) and isinstance(their_scale, TimeScale)
            self.time_affine(our_scale, their_scale)

    def cross(self, ours: PackedCrossTransformer, theirs: CrossTransformer) -> None:
        for number in ("1", "2"):
            for norm in ("image_norm", "mask_norm"):
                fold_into(getattr(ours, norm + number), getattr(theirs, norm + number))
            for part, fill in (
                ("attention", self.attention),
                ("output", self.output),
                ("feed_forward", self.feed_forward),
            ):
                fill(getattr(ours, part + number), getattr(theirs, part + number))


def folded(norm: Norm) -> tuple[Float[Tensor, "c"], Float[Tensor, "c"]]:
    """A batch norm that no longer learns, as x * factor + shift."""
    assert norm.running_mean is not None and norm.running_var is not None
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return factor, norm.bias - norm.running_mean * factor


def fold_into(ours: Affine, norm: Norm) -> None:
    """The same, into its place."""
    factor, shift = folded(norm)
    ours.scale.copy_(factor)
    ours.shift.copy_(shift)
