"""The refiner's convolution blocks: a full-precision shortcut around every 1-bit layer.

Input and output of every block are feature maps (b, c, h, w); `time` is (b, time_channels).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from hidiff.binary import Conv2d, Precision, RPReLU, TimeBias, TimeLinear
from hidiff.refiner.group_norm import GroupNorm

CONDITIONS = ("each_step", "once")


Convolve = Callable[..., Tensor]
"""(layer, x, norm=..., added=...) -> layer(silu(norm(x))) + added, as `convolve_normed`"""


def convolve_normed(
    layer: nn.Module,
    x: Tensor,
    *,
    norm: nn.Module | None = None,
    added: Tensor | None = None,
) -> Tensor:
    """Return layer(silu(norm(x))) + added by torch; a packed refiner has a kernel for it."""
    if norm is not None:
        if torch.is_grad_enabled() and not x.requires_grad:
            # torch 2.13 crashes in group norm's backward on a channels-last input that needs no
            # gradient, as a detached feature is
            x = x.contiguous()
        x = functional.silu(norm(x))
    x = layer(x)
    return x if added is None else x + added


class Block(nn.Module):
    """RPReLU(BN(conv(sign(x + bias(t)))) + x); halved channels are means of neighbours."""

    def __init__(self, in_channels: int, out_channels: int, time: int, precision: Precision):
        super().__init__()
        self.bias = TimeBias(time, in_channels)
        # no bias of its own: the batch norm after it has one
        self.conv = Conv2d(in_channels, out_channels, 3, padding=1, bias=False, precision=precision)
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = RPReLU(time, out_channels)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.norm(self.conv(self.bias(x, time)))
        return self.activation(h + _shortcut(x, h.shape[1]), time)


class Down(nn.Module):
    """Block at stride 2; doubled channels repeat the pooled input as shortcut."""

    def __init__(self, in_channels: int, out_channels: int, time: int, precision: Precision):
        super().__init__()
        self.repeats = out_channels // in_channels
        self.bias = TimeBias(time, in_channels)
        self.conv = Conv2d(
            in_channels, out_channels, 3, stride=2, padding=1, bias=False, precision=precision
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = RPReLU(time, out_channels)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.norm(self.conv(self.bias(x, time)))
        pooled = functional.avg_pool2d(x, 2)
        return self.activation(h + torch.cat([pooled] * self.repeats, dim=1), time)


class Up(Block):
    """Nearest x2, then Block."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return super().forward(functional.interpolate(x, scale_factor=2, mode="nearest"), time)


class ConditionBlock(nn.Module):
    """A real residual block that brings an image feature in.

    `each_step` (the paper's): t scales and shifts between the two convolutions, so the second
    convolution runs at every step. `once` (ours): t scales and shifts what comes out, so that
    `image_part` holds all of the work on the image.
    """

    def __init__(self, in_channels: int, out_channels: int, time: int, condition: str):
        super().__init__()
        if condition not in CONDITIONS:
            raise ValueError(f"condition is {condition!r}, but must be one of {CONDITIONS}")
        self.once = condition == "once"
        self.norm1 = group_norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time = TimeLinear(time, 2 * out_channels)
        self.norm2 = group_norm(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        same = in_channels == out_channels
        self.skip = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def image_part(
        self, feature: Tensor, convolve: Convolve = convolve_normed
    ) -> tuple[Tensor, Tensor]:
        """Return (hidden, shortcut), which depend on the image alone: computed once per image."""
        hidden = convolve(self.conv1, feature, norm=self.norm1)
        shortcut = feature if isinstance(self.skip, nn.Identity) else convolve(self.skip, feature)
        if self.once:
            return convolve(self.conv2, hidden, norm=self.norm2, added=shortcut), shortcut
        return self.norm2(hidden), shortcut

    def forward(self, image_part: tuple[Tensor, Tensor], time: Tensor) -> Tensor:
        scale, shift = self.time.along(image_part[0], time).chunk(2, dim=1)
        return self.modulated(image_part, 1 + scale, shift)

    def modulated(self, image_part: tuple[Tensor, Tensor], factor: Tensor, shift: Tensor) -> Tensor:
        """Modulate the image's part by a factor and a shift per channel, (b, c, 1, 1), of t."""
        hidden, shortcut = image_part
        modulated = torch.addcmul(shift, hidden, factor)
        if self.once:
            return modulated
        return self.conv2(functional.silu(modulated)) + shortcut


class Fusion(nn.Module):
    """Block on the mask features beside an image feature, twice the channels to one."""

    def __init__(
        self, feature: int, channels: int, time: int, precision: Precision, condition: str
    ):
        super().__init__()
        self.condition = ConditionBlock(feature, channels, time, condition)
        self.block = Block(2 * channels, channels, time, precision)

    def forward(self, x: Tensor, condition: Tensor, time: Tensor) -> Tensor:
        return self.block(torch.cat([x, condition], dim=1), time)


def group_norm(channels: int) -> GroupNorm:
    """Return a group norm with the paper's 32 groups, or as many as divide the channels."""
    return GroupNorm(math.gcd(32, channels), channels)


def _shortcut(x: Tensor, channels: int) -> Tensor:
    if x.shape[1] == channels:
        return x
    return (x[:, 0::2] + x[:, 1::2]) / 2
