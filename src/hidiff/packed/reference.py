"""The reference of every kernel, slow and obvious: floats that happen to be +1 and -1.

Sums of +1 and -1 are exact in float32.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int32
from torch import Tensor
from torch.nn import functional

from hidiff.packed.engine import Engine
from hidiff.packed.layout import Epilogue, PackedWeight, pack_bits, unpack_bits

REFERENCE = "reference"


class ReferenceEngine(Engine):
    """Computes in floats, with torch alone."""

    name = REFERENCE

    def _pack(self, x: Tensor, bias: Tensor | None) -> Tensor:
        _check_floats(x, "x")
        if bias is not None:
            _require(
                bias.shape == x.shape[1:2],
                f"bias has {len(bias)} numbers, but must have one for each of {x.shape[1]} "
                "channels",
            )
            x = x + bias[:, None, None]
        return pack_bits((x >= 0).permute(0, 2, 3, 1))

    def _unpack(self, bits: Tensor, channels: int) -> Tensor:
        return _signs(bits, channels).permute(0, 3, 1, 2)

    def _conv(self, bits: Tensor, weight: PackedWeight, stride: int, out: Tensor) -> None:
        _require(
            min(bits.shape[1:]) > 0,
            f"bits are {tuple(bits.shape)} (batch, height, width, words): none of them may be 0 "
            "but the batch",
        )
        kernel = weight.kernel
        w = _signs(weight.signs, weight.in_channels).transpose(1, 2).unflatten(2, (kernel, kernel))
        x = self._unpack(bits, weight.in_channels)
        out.copy_(functional.conv2d(x, w, stride=stride, padding=kernel // 2))

    def _conv_block(
        self,
        bits: Tensor,
        weight: PackedWeight,
        epilogue: Epilogue,
        shortcuts: Sequence[Tensor],
        stride: int,
        out: Tensor,
    ) -> Tensor:
        sums = self.conv(bits, weight, stride).float()
        size = tuple(sums.shape)
        _require(
            tuple(out.shape) == size and out.permute(0, 2, 3, 1).is_contiguous(),
            f"out is {tuple(out.shape)}, but must be {size} and channels-last; make it with "
            "torch.empty(..., memory_format=torch.channels_last)",
        )
        added = shortcut(shortcuts, size)
        numbers, biases = epilogue.channel_values, epilogue.next_bias
        _require(
            numbers.shape[1] == biases.shape[1] == size[1],
            f"scale, offset, slope and bias have {numbers.shape[1]} numbers, next_bias has "
            f"{biases.shape[1]}, but all must have one for each of {size[1]} output channels",
        )
        scale, offset, slope, bias = (v[:, None, None] for v in numbers)
        h = sums * scale + offset + added
        out.copy_(torch.where(h > 0, h, slope * h) + bias)
        signs = [self._pack(out, next_bias) for next_bias in biases]
        return torch.stack(signs) if signs else self._pack(out, None)[None][:0]

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        channels: int,
        num_heads: int,
        thresholds: Tensor,
    ) -> Tensor:
        sizes = [tuple(bits.shape[:-1]) for bits in (query, key, value)]
        _require(
            all(len(size) == 2 and size[0] == sizes[0][0] for size in sizes)
            and sizes[1] == sizes[2]
            and min(sizes[0][1], sizes[1][1]) > 0,
            f"query, key and value are {sizes} (batch, tokens): the batch must be the same, each "
            "key must have one value, and there must be one query and one key at least",
        )
        q, k, v = (
            _signs(x, channels).unflatten(2, (num_heads, -1)).transpose(1, 2)
            for x in (query, key, value)
        )
        scores = (q @ k.transpose(-1, -2)).to(torch.int32)
        largest = scores.amax(dim=-1, keepdim=True)
        attended = scores > thresholds[(largest + channels // num_heads).long()]
        return (attended.float() @ v).transpose(1, 2).flatten(2).to(torch.int32)


def shortcut(
    sources: Sequence[Float[Tensor, "b _ _ _"]], size: Sequence[int]
) -> Float[Tensor, "b c h w"]:
    """Return the sources, channels side by side, at the output's size (batch, channels, h, w).

    Twice its height and width: means of 2x2 pixels; half of them: each pixel four times. More
    channels: means of neighbours; fewer: all of them repeated.
    """
    _require(len(sources) in (1, 2), f"got {len(sources)} shortcuts, but a block wants one or two")
    resized = [_at_size(source, size) for source in sources]
    counts, channels = [source.shape[1] for source in sources], size[1]
    fits = min(counts) > 0 and max(channels, sum(counts)) % min(channels, sum(counts)) == 0
    group = max(1, sum(counts) // channels)
    _require(
        fits and all(count % group == 0 for count in counts),
        f"shortcuts have {counts} channels, the output {channels}: one must be a multiple of the "
        "other, and means may not span two shortcuts",
    )
    x = torch.cat(resized, dim=1)
    if group == 1:
        return x.repeat(1, channels // x.shape[1], 1, 1)
    return _mean([x[:, i::group] for i in range(group)])


def _signs(bits: Int32[Tensor, "*lead words"], channels: int) -> Float[Tensor, "*lead c"]:
    return 2 * unpack_bits(bits, channels).float() - 1


def _at_size(x: Tensor, size: Sequence[int]) -> Tensor:
    batch, _, height, width = size
    _check_floats(x, "shortcut")
    if x.ndim == 4 and len(x) == batch:
        if x.shape[2] // 2 == height and x.shape[3] // 2 == width:
            x = x[:, :, : 2 * height, : 2 * width]
            return _mean([x[:, :, i::2, j::2] for i in range(2) for j in range(2)])
        if 2 * x.shape[2] == height and 2 * x.shape[3] == width:
            return functional.interpolate(x, scale_factor=2, mode="nearest")
        if tuple(x.shape[2:]) == (height, width):
            return x
    raise ValueError(
        f"a shortcut is {tuple(x.shape)}, but the output has batch {batch} and {height}x{width}: "
        "the sizes must be equal, or one twice the other"
    )


def _mean(parts: Sequence[Tensor]) -> Tensor:
    # added from the left, so that every kernel can round as this does
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total / len(parts)


def _check_floats(x: Tensor, what: str) -> None:
    _require(
        x.device.type == "cpu" and x.dtype == torch.float32,
        f"{what} is {x.dtype} on {x.device}, but the packed kernels work on float32 on the CPU; "
        f"pass {what}.float().cpu()",
    )


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise ValueError(problem)
