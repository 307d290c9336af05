"""Walk a float refiner and a packed one side by side: each number's place in both.

Packing copies from the float one to the packed one, unpacking back; each is a subclass that says
what happens to a pair of parts.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from hidiff.binary import Conv2d, Linear, RPReLU, TimeLinear, TimeScale
from hidiff.packed import PackedRefiner
from hidiff.packed.cross_transformer import (
    PackedAttention,
    PackedCrossTransformer,
    PackedFeedForward,
    PackedOutput,
)
from hidiff.packed.modules import Affine, PackedLayer, TimeAffine
from hidiff.refiner import Refiner
from hidiff.refiner.attention import AttentionOutput, CrossAttention, Projection
from hidiff.refiner.blocks import Block, Down
from hidiff.refiner.cross_transformer import CrossTransformer, FeedForward

Norm = nn.BatchNorm1d | nn.BatchNorm2d


class Walk(ABC):
    """Visits every pair of parts: `ours` of the packed refiner, `theirs` of the float one."""

    def __init__(self, refiner: Refiner, packed: PackedRefiner):
        self.refiner, self.packed = refiner, packed

    @abstractmethod
    def put(
        self,
        part: slice,
        layer: TimeLinear,
        plus: Tensor | float = 0.0,
        outputs: slice = slice(None),
    ) -> None:
        """Visit what a time layer adds: `part` of the step table, which holds `plus` on top."""

    @abstractmethod
    def layer(
        self, ours: PackedLayer, theirs: Conv2d | Linear, norm: Norm, activation: RPReLU
    ) -> None:
        """Visit a 1-bit layer, the batch norm after it and its RPReLU."""

    @abstractmethod
    def summed(self, ours: PackedAttention, theirs: CrossAttention) -> None:
        """Visit the batch norm and the RPReLU after an attention."""

    @abstractmethod
    def norm(self, ours: Affine, theirs: Norm) -> None:
        """Visit a batch norm that stands alone."""

    def run(self) -> None:
        """Visit all."""
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

    def block(self, ours: PackedLayer, theirs: Block | Down) -> None:
        self.put(ours.threshold, theirs.bias)
        self.layer(ours, theirs.conv, theirs.norm, theirs.activation)

    def projection(self, ours: PackedLayer, theirs: Projection) -> None:
        self.put(ours.threshold, theirs.bias)
        self.layer(ours, theirs.linear, theirs.norm, theirs.activation)

    def time_affine(self, ours: TimeAffine, theirs: TimeScale) -> None:
        self.put(ours.scale, theirs.scale)
        self.put(ours.bias, theirs.bias)

    def attention(self, ours: PackedAttention, theirs: CrossAttention) -> None:
        for name in ("query", "key", "value"):
            self.projection(getattr(ours, name), getattr(theirs, name))
            self.put(getattr(ours, f"{name}_bias"), getattr(theirs, f"{name}_bias"))
        self.summed(ours, theirs)

    def output(self, ours: PackedOutput, theirs: AttentionOutput) -> None:
        self.projection(ours.projection, theirs.projection)
        self.time_affine(ours.scale, theirs.scale)

    def feed_forward(self, ours: PackedFeedForward, theirs: FeedForward) -> None:
        self.norm(ours.norm, theirs.norm)
        for number in ("1", "2"):
            layer = getattr(ours, f"linear{number}")
            parts = (getattr(theirs, name + number) for name in ("linear", "norm", "activation"))
            self.put(layer.threshold, getattr(theirs, f"bias{number}"))
            self.layer(layer, *parts)
        self.time_affine(ours.scale, theirs.scale)
        for our_scale, their_scale in zip(ours.pool_scales, theirs.pool_scales, strict=True):
            assert isinstance(our_scale, TimeAffine) and isinstance(their_scale, TimeScale)
            self.time_affine(our_scale, their_scale)

    def cross(self, ours: PackedCrossTransformer, theirs: CrossTransformer) -> None:
        for number in ("1", "2"):
            for norm in ("image_norm", "mask_norm"):
                self.norm(getattr(ours, norm + number), getattr(theirs, norm + number))
            for part, visit in (
                ("attention", self.attention),
                ("output", self.output),
                ("feed_forward", self.feed_forward),
            ):
                visit(getattr(ours, part + number), getattr(theirs, part + number))
