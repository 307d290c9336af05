"""What every kernel must compute, slowly and obviously: floats that happen to be +1 and -1.

The same functions as `kernels`, on the same bits. Sums of +1 and -1 are exact in float32.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor
from torch.nn import functional

from hidiff.packed.layout import Epilogue, PackedWeight, pack_bits, unpack_bits


def pack(
    x: Float[Tensor, "b c h w"], bias: Float[Tensor, "c"] | None
) -> Int32[Tensor, "b h w words"]:
    """The signs of x + bias."""
    if bias is not None:
        x = x + bias[:, None, None]
    return pack_bits((x >= 0).permute(0, 2, 3, 1))


def unpack(bits: Int32[Tensor, "b h w words"], channels: int) -> Float[Tensor, "b c h w"]:
    """+1.0 and -1.0."""
    return _signs(bits, channels).permute(0, 3, 1, 2)


def conv(
    bits: Int32[Tensor, "b h w words"], weight: PackedWeight, stride: int, dtype: torch.dtype
) -> Int[Tensor, "b o h2 w2"]:
    """The 1-bit convolution, zeros around the image."""
    kernel = weight.kernel
    w = _signs(weight.signs, weight.in_channels).transpose(1, 2).unflatten(2, (kernel, kernel))
    x = unpack(bits, weight.in_channels)
    return functional.conv2d(x, w, stride=stride, padding=kernel // 2).to(dtype)


def conv_block(
    bits: Int32[Tensor, "b h w words"],
    weight: PackedWeight,
    stride: int,
    epilogue: Epilogue,
    shortcuts: Sequence[Float[Tensor, "b _ _ _"]],
) -> tuple[Float[Tensor, "b o h2 w2"], Int32[Tensor, "n b h2 w2 out_words"]]:
    """The convolution and its epilogue: the block's output, and its signs for the next layers."""
    sums = conv(bits, weight, stride, torch.int32).float()
    scale, offset, slope, bias = (v[:, None, None] for v in epilogue.channel_values)
    h = sums * scale + offset + shortcut(shortcuts, sums.shape[1:])
    out = torch.where(h > 0, h, slope * h) + bias
    signs = [pack(out, next_bias) for next_bias in epilogue.next_bias]
    none = torch.empty(0, *pack(out, None).shape, dtype=torch.int32)
    return out, torch.stack(signs) if signs else none


def shortcut(
    sources: Sequence[Float[Tensor, "b _ _ _"]], size: Sequence[int]
) -> Float[Tensor, "b c h w"]:
    """The sources, channels side by side, at the output's size (channels, height, width).

    Twice its height and width: means of 2x2 pixels; half of them: each pixel four times. More
    channels: means of neighbours; fewer: all of them repeated.
    """
    x = torch.cat([_at_size(source, size[1:]) for source in sources], dim=1)
    if x.shape[1] <= size[0]:
        return x.repeat(1, size[0] // x.shape[1], 1, 1)
    return _mean([x[:, i :: x.shape[1] // size[0]] for i in range(x.shape[1] // size[0])])


def attention(
    query: Int32[Tensor, "b n words"],
    key: Int32[Tensor, "b m words"],
    value: Int32[Tensor, "b m words"],
    channels: int,
    num_heads: int,
    thresholds: Int32[Tensor, "scores"],
) -> Int32[Tensor, "b n c"]:
    """For each query and head: the sum of the values whose keys score above the threshold."""
    q, k, v = (
        _signs(x, channels).unflatten(2, (num_heads, -1)).transpose(1, 2)
        for x in (query, key, value)
    )
    scores = (q @ k.transpose(-1, -2)).to(torch.int32)
    largest = scores.amax(dim=-1, keepdim=True)
    attended = scores > thresholds[(largest + channels // num_heads).long()]
    return (attended.float() @ v).transpose(1, 2).flatten(2).to(torch.int32)


def _signs(bits: Int32[Tensor, "*lead words"], channels: int) -> Float[Tensor, "*lead c"]:
    return 2 * unpack_bits(bits, channels).float() - 1


def _at_size(x: Float[Tensor, "b c _ _"], size: Sequence[int]) -> Float[Tensor, "b c h w"]:
    height, width = size
    if x.shape[2] // 2 == height and x.shape[3] // 2 == width:
        x = x[:, :, : 2 * height, : 2 * width]
        return _mean([x[:, :, i::2, j::2] for i in range(2) for j in range(2)])
    if 2 * x.shape[2] == height and 2 * x.shape[3] == width:
        return functional.interpolate(x, scale_factor=2, mode="nearest")
    return x


def _mean(parts: Sequence[Tensor]) -> Tensor:
    # added from the left, so that every kernel can round as this does
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total / len(parts)
