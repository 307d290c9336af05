"""Packed layers in plain operators that every engine has, the same numbers bit for bit.

A sign is +0.5 or -0.5 in a float, and a 1-bit weight is +2 or -2, so that sums are exact whole
numbers. Engines make half a sign faster (a comparison, a cast and a subtraction) than they choose
between +1 and -1.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from hidiff.packed.cross_transformer import PackedAttention
from hidiff.packed.layout import unpack_bits
from hidiff.packed.modules import Affine, PackedLayer, TimeAffine
from hidiff.packed.steps import StepValues


class Activation(nn.Module):
    """The epilogue of a 1-bit layer: PReLU(scale * sums + offset + shortcut) + after.

    `channel_shape` spreads a number per channel: (-1, 1, 1) over a map, (-1,) over tokens.
    """

    scale: Float[Tensor, "c *ones"]
    slope: Float[Tensor, "c *ones"]

    def __init__(self, layer: PackedLayer | PackedAttention, channel_shape: Sequence[int]):
        super().__init__()
        self.offset, self.after = layer.offset, layer.after
        self.channel_shape = tuple(channel_shape)
        self.register_buffer("scale", layer.scale.detach().view(self.channel_shape))
        self.register_buffer("slope", layer.slope.detach().view(self.channel_shape))
        # ONNX Runtime takes a quarter of the time for a maximum.
        self.as_maximum = bool((layer.slope <= 1).all())

    def forward(self, sums: Tensor, row: StepValues, *shortcuts: Tensor) -> Tensor:
        # The constant comes first: ONNX Runtime multiplies a convolution's weights by a constant
        # that comes second, and the sums would no longer be whole numbers, which are exact.
        return self.finish(self.scale * sums + self.spread(row[self.offset]), row, *shortcuts)

    def finish(self, h: Tensor, row: StepValues, *shortcuts: Tensor) -> Tensor:
        """Return PReLU(h + shortcuts) + after."""
        for shortcut in shortcuts:
            h = h + shortcut
        below = self.slope * h
        h = torch.maximum(h, below) if self.as_maximum else torch.where(h > 0, h, below)
        return h + self.spread(row[self.after])

    def spread(self, values: Float[Tensor, "c"]) -> Tensor:
        """Reshape a number per channel so that it spreads over a map or tokens."""
        return values.view(self.channel_shape)


class MapLayer(nn.Module):
    """A 3x3 1-bit convolution of maps (b, c, h, w)."""

    weight: Float[Tensor, "o i 3 3"]

    def __init__(self, layer: PackedLayer):
        super().__init__()
        # numbers, as a shape that is read while a graph is traced becomes operators
        self.in_channels, self.out_channels = layer.in_channels, layer.out_channels
        self.threshold, self.stride = layer.threshold, layer.stride
        weight = 2 * _signs(layer).transpose(1, 2).unflatten(2, (3, 3))
        self.register_buffer("weight", weight.contiguous())
        self.activation = Activation(layer, (-1, 1, 1))

    def bits(self, row: StepValues, *parts: Float[Tensor, "b _ h w"]) -> Bool[Tensor, "b i h w"]:
        """Return True where x + threshold >= 0, of one input or of two alike, side by side."""
        limits = (-row[self.threshold][:, None, None]).chunk(len(parts))
        # Bits are a quarter of their floats to put side by side.
        return side_by_side([x >= limit for x, limit in zip(parts, limits, strict=True)])

    def forward(
        self, signs: Float[Tensor, "b i h w"], row: StepValues, shortcut: Float[Tensor, "b o _ _"]
    ) -> Float[Tensor, "b o _ _"]:
        sums = functional.conv2d(signs, self.weight, stride=self.stride, padding=1)
        return self.activation(sums, row, shortcut)


class TokenLayer(nn.Module):
    """A 1-bit linear layer of tokens (b, n, c). More outputs than inputs repeat the shortcut."""

    weight: Float[Tensor, "i o"]

    def __init__(self, layer: PackedLayer):
        super().__init__()
        self.threshold = layer.threshold
        self.in_channels, self.out_channels = layer.in_channels, layer.out_channels
        self.register_buffer("weight", (2 * _signs(layer)[:, 0]).T.contiguous())
        self.activation = Activation(layer, (-1,))

    def forward(self, x: Float[Tensor, "b n i"], row: StepValues) -> Float[Tensor, "b n o"]:
        signs = half_signs(x >= -row[self.threshold])
        if self.in_channels <= self.out_channels:
            shortcut = torch.cat([x] * (self.out_channels // self.in_channels), dim=-1)
        else:
            group = self.in_channels // self.out_channels
            shortcut = mean_of([x[..., i::group] for i in range(group)])
        return self.activation(signs @ self.weight, row, shortcut)


class OutputLayer(nn.Module):
    """A 3x3 convolution to few planes, as one of stride 4 to the 16 pixels under each step.

    Engines compute 16 channels at a time, so that one plane would cost as much as 16.
    """

    SIDE = 4
    FEW = 2  # planes; more of them are computed faster as they are

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        planes, channels = conv.weight.shape[:2]
        self.conv = conv
        if planes > self.FEW:
            return
        side, reach = self.SIDE, self.SIDE + 2
        self.conv = nn.Conv2d(channels, planes * side**2, reach, stride=side, padding=1)
        assert self.conv.bias is not None and conv.bias is not None
        with torch.no_grad():
            weight = torch.zeros(planes, side, side, channels, reach, reach)
            for row in range(side):
                for column in range(side):
                    weight[:, row, column, :, row : row + 3, column : column + 3] = conv.weight
            self.conv.weight.copy_(weight.flatten(0, 2))
            self.conv.bias.copy_(conv.bias.repeat_interleave(side**2))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        out = self.conv(x)
        return out if self.conv.stride == (1, 1) else functional.pixel_shuffle(out, self.SIDE)


def half_signs(bits: Bool[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return +0.5 for True and -0.5 for False."""
    return bits.to(torch.float32) - 0.5


def side_by_side(parts: Sequence[Tensor]) -> Tensor:
    """Return maps as one, with the channels of all."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)


def mean_of(parts: Sequence[Tensor]) -> Tensor:
    """Return the mean of 2 or 4 tensors, added from the left as the kernels do."""
    assert len(parts) in (2, 4)  # so a product is as exact as a quotient, and faster
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total * (1 / len(parts))


def affine(norm: Affine, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
    """Return x * scale + shift."""
    return multiply_add(x, norm.scale, norm.shift)


def time_affine(layer: TimeAffine, x: Float[Tensor, "b n c"], row: StepValues) -> Tensor:
    """Return x * scale(t) + bias(t)."""
    return multiply_add(x, row[layer.scale], row[layer.bias])


def multiply_add(x: Tensor, factor: Tensor, plus: Tensor) -> Tensor:
    """Return x * factor + plus, rounded once as torch.addcmul does: in double precision."""
    return (x.double() * factor.double() + plus.double()).float()


def _signs(layer: PackedLayer) -> Float[Tensor, "o taps i"]:
    return 2 * unpack_bits(layer.signs, layer.in_channels).float() - 1
