"""A packed refiner in plain operators, for other engines: the same numbers bit for bit.

Its 1-bit layers and its float work between them are exact; what stays float (input, output and
condition blocks) rounds as the engine does.
"""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn
from torch.nn import functional

from hidiff.export.plain_cross import PlainCrossTransformer
from hidiff.export.plain_layers import MapLayer, OutputLayer, half_signs, mean_of, side_by_side
from hidiff.export.plain_norm import PlainGroupNorm, with_plain_norms
from hidiff.packed import PackedRefiner
from hidiff.packed.int8 import Int8Conv2d
from hidiff.packed.modules import PackedLayer
from hidiff.packed.steps import StepValues


class PlainRefiner(nn.Module):
    """Takes the packed refiner's place in a graph: see, prepare, condition and denoise.

    All images of a batch are at the same step. The answer at a step that the model was not packed
    for is NaN.
    """

    rows: Float[Tensor, "steps+1 values"]
    places: Integer[Tensor, "num_steps+1"]

    def __init__(self, packed: PackedRefiner, steps: Sequence[int], num_steps: int):
        super().__init__()
        rows = torch.stack([packed.table.row(step) for step in steps])
        self.register_buffer("rows", torch.cat([rows, torch.full_like(rows[:1], float("nan"))]))
        places = torch.full((num_steps + 1,), len(steps))
        places[list(steps)] = torch.arange(len(steps))
        self.register_buffer("places", places)
        self.modulations, self.first_fusion = packed.modulations, packed.first_fusion
        image, fine = packed.image_encoder, packed.fine_encoder
        self.image_encoder = None if image is None else _in_floats(image)
        self.fine_encoder = None if fine is None else _in_floats(fine)
        self.condition_blocks = _in_floats(packed.condition_blocks)
        self.input = _joined(packed.input, packed.hint_input)
        self.output_norm, self.output = (
            PlainGroupNorm(packed.output_norm),
            OutputLayer(packed.output),
        )
        self.reads_hints = packed.reads_hints
        self.encoder, self.fusions = _layers(packed.encoder), _layers(packed.fusions)
        self.downs, self.ups = _layers(packed.downs), _layers(packed.ups)
        self.decoder = _layers(packed.decoder)
        self.middle1, self.middle2 = MapLayer(packed.middle1), MapLayer(packed.middle2)
        self.cross = PlainCrossTransformer(packed.cross)

    def see(self, image: Tensor, features: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return all image features: the fine encoder's, then the segmentor's or the encoder's."""
        if self.image_encoder is not None:
            features = self.image_encoder(image)
        return features if self.fine_encoder is None else (*self.fine_encoder(image), *features)

    def prepare(self, features: Sequence[Tensor]) -> tuple[tuple[Tensor, Tensor], ...]:
        """Do all work that depends on the image alone."""
        return tuple(
            block.image_part(feature)
            for block, feature in zip(self.condition_blocks, features, strict=True)
        )

    def condition(
        self, prepared: Sequence[tuple[Tensor, Tensor]], t: Integer[Tensor, "b"]
    ) -> tuple[Tensor, ...]:
        """Do all work that depends on image and t alone."""
        row, conditions = self._row(t), []
        for block, part, slices in zip(
            self.condition_blocks, prepared, self.modulations, strict=True
        ):
            hidden, shortcut = part
            feature = _modulated(hidden, *(row[each] for each in slices))
            if not block.once:
                feature = block.conv2(functional.silu(feature)) + shortcut
            conditions.append(feature)
        return tuple(conditions)

    def denoise(
        self,
        image: Float[Tensor, "b c h w"],
        yt: Float[Tensor, "b k h w"],
        prior: Float[Tensor, "b k h w"],
        t: Integer[Tensor, "b"],
        conditions: Sequence[Tensor],
        *hints: Float[Tensor, "b k h w"],
    ) -> Float[Tensor, "b k h w"]:
        """Return the raw output for one step; t is the same for the whole batch."""
        row = self._row(t)
        x = self.input(torch.cat([image, yt, prior, *hints], dim=1))
        skips = []
        for level, (block, down) in enumerate(zip(self.encoder, self.downs, strict=True)):
            x = _same_size(block, row, x)
            if (number := level - self.first_fusion) >= 0:
                x = _same_size(self.fusions[number], row, x, conditions[number])
            skips.append(x)
            x = _down(down, row, x)
        x = _same_size(self.middle1, row, x)
        x = self.cross(x, conditions[-1], row)
        x = _same_size(self.middle2, row, x)
        for up, block in zip(self.ups, self.decoder, strict=True):
            x = _same_size(block, row, _up(up, row, x), skips.pop())
        return self.output(functional.silu(self.output_norm(x)))

    def _row(self, t: Integer[Tensor, "b"]) -> StepValues:
        return self.rows[self.places[t[:1]]][0]


def _modulated(
    x: Float[Tensor, "b c h w"], factor: Float[Tensor, "c"], shift: Float[Tensor, "c"]
) -> Float[Tensor, "b c h w"]:
    """Return x * factor + shift as a batch norm, which engines compute in one pass over memory."""
    none = torch.zeros_like(factor)
    return functional.batch_norm(x, none, none + 1, factor, shift, eps=0.0)


def _same_size(layer: nn.Module, row: StepValues, *parts: Tensor) -> Tensor:
    """Run a block on one input, or on two side by side whose neighbouring channels are averaged."""
    assert isinstance(layer, MapLayer)
    return layer(half_signs(layer.bits(row, *parts)), row, _means(layer, *parts))


def _down(layer: nn.Module, row: StepValues, x: Tensor) -> Tensor:
    """Run a block of stride 2: the shortcut is pooled, and repeated if the channels double."""
    assert isinstance(layer, MapLayer)
    repeats = layer.out_channels // layer.in_channels
    shortcut = side_by_side([functional.avg_pool2d(x, 2)] * repeats)
    return layer(half_signs(layer.bits(row, x)), row, shortcut)


def _up(layer: nn.Module, row: StepValues, x: Tensor) -> Tensor:
    """Run a block on the input at twice its size: signs and means are taken before, as few."""
    assert isinstance(layer, MapLayer)
    signs = _twice(half_signs(layer.bits(row, x)))
    return layer(signs, row, _twice(_means(layer, x)))


def _means(layer: MapLayer, *parts: Tensor) -> Tensor:
    """Return the shortcut: means of neighbouring channels, as many as the layer has outputs."""
    group = layer.in_channels // layer.out_channels
    if group > 1:
        parts = tuple(mean_of([part[:, i::group] for i in range(group)]) for part in parts)
    return side_by_side(parts)


def _twice(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c _ _"]:
    return functional.interpolate(x, scale_factor=2, mode="nearest")


def _joined(input: nn.Conv2d, hints: nn.Conv2d | None) -> nn.Conv2d:
    """Return the input layer with the hints' planes as its last channels: one pass over memory."""
    if hints is None:
        return copy.deepcopy(input)
    channels = input.in_channels + hints.in_channels
    joined = nn.Conv2d(channels, input.out_channels, 3, padding=1)
    assert joined.bias is not None and input.bias is not None
    with torch.no_grad():
        joined.weight.copy_(torch.cat([input.weight, hints.weight], dim=1))
        joined.bias.copy_(input.bias)
    return joined


def _layers(packed: Iterable[nn.Module]) -> nn.ModuleList:
    return nn.ModuleList(MapLayer(layer) for layer in packed if isinstance(layer, PackedLayer))


def _in_floats(module: Any) -> Any:
    """Return a copy whose int8 convolutions compute in floats, and with plain group norms."""
    return with_plain_norms(_without_int8(copy.deepcopy(module)))


def _without_int8(module: nn.Module) -> nn.Module:
    """Replace int8 convolutions by float ones, in place."""
    for name, child in module.named_children():
        setattr(module, name, _without_int8(child))
    if not isinstance(module, Int8Conv2d):
        return module
    outputs, inputs = module.weight.shape[:2]
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=module.bias is not None)
    conv.weight, conv.bias = module.weight, module.bias
    return conv
