"""Convolutions of the packed refiner that stay float, with the norm and the SiLU before them.

Between the layers the kernel keeps no tensor of the image's size: a row is normalised and activated
as the convolution reads it. Sums have another order than torch's, so their last bits differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hidiff.packed.layout import BLOCK

NARROW = 3  # RealConv::kNarrow in csrc/kernels.h


@dataclass(frozen=True)
class RealWeight:
    """A convolution's weights in the order that the kernels read."""

    blocks: Float[Tensor, "_ taps _ _"]
    """blocks of 16 output channels, taps, input channels, 16; of up to 3 output channels: output
    channels, taps, 1, input channels filled up with zeros"""
    bias: Float[Tensor, "padded"]
    out_channels: int
    kernel: int
    stride: int


def real_weight(layer: nn.Conv2d) -> RealWeight:
    """Return the layer's weights, put in order once: they must not change once it has run."""
    if layer not in _PREPARED:
        _PREPARED[layer] = _prepare(layer)
    return _PREPARED[layer]


_PREPARED: WeakKeyDictionary[nn.Conv2d, RealWeight] = WeakKeyDictionary()


def _prepare(layer: nn.Conv2d) -> RealWeight:
    weight = layer.weight.detach()
    out, channels, kernel, _ = weight.shape
    taps = kernel**2
    bias = weight.new_zeros(out) if layer.bias is None else layer.bias.detach()
    if out <= NARROW:
        flat = weight.permute(0, 2, 3, 1).reshape(out, taps, 1, channels)
        blocks = functional.pad(flat, (0, -channels % BLOCK))
    else:
        filled = functional.pad(weight, (0, 0, 0, 0, 0, 0, 0, -out % BLOCK))
        blocks = filled.reshape(-1, BLOCK, channels, taps).permute(0, 3, 2, 1)
    bias = functional.pad(bias, (0, -out % BLOCK)).contiguous()
    return RealWeight(blocks.contiguous(), bias, out, kernel, layer.stride[0])


def has_kernel(layer: nn.Module) -> bool:
    """Return whether the kernels compute such a layer: 3x3 or 1x1, stride 1 or 2, zeros around."""
    if not isinstance(layer, nn.Conv2d) or layer.weight.dtype != torch.float32:
        return False
    side = layer.kernel_size[0]
    return (
        layer.kernel_size in {(1, 1), (3, 3)}
        and layer.stride in {(1, 1), (2, 2)}
        and layer.padding == (side // 2, side // 2)
        and (layer.dilation, layer.groups, layer.padding_mode) == ((1, 1), 1, "zeros")
    )


def convolve(
    layer: nn.Module,
    sources: Sequence[Float[Tensor, "b _ h w"]],
    norm: nn.GroupNorm | None,
    added: Float[Tensor, "b o h2 w2"] | None,
) -> Float[Tensor, "b o h2 w2"]:
    """Return layer(silu(norm(x))) + added by torch, channels-last; without a norm no SiLU."""
    x = sources[0] if len(sources) == 1 else torch.cat(list(sources), dim=1)
    if norm is not None:
        x = functional.silu(norm(x))
    x = layer(x)
    x = x if added is None else x + added
    return x.contiguous(memory_format=torch.channels_last)
