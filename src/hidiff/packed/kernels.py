"""The packed operations, by compiled kernels where there are some, else by the reference.

All kernels give the same numbers, bit for bit. Threads are as many as `torch.get_num_threads()`.
"""

from collections.abc import Sequence
from functools import cache

import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor

from hidiff.packed import reference
from hidiff.packed.choice import REFERENCE, compiled, kernel_at_work
from hidiff.packed.layout import Epilogue, PackedWeight, attention_thresholds, num_words


def pack(
    x: Float[Tensor, "b c h w"], bias: Float[Tensor, "c"] | None = None
) -> Int32[Tensor, "b h w words"]:
    """The signs of x + bias, +1 where >= 0."""
    name = kernel_at_work()
    x = _on_cpu(x, "x")
    if name == REFERENCE:
        return reference.pack(x, bias)
    if not x.is_contiguous():
        x = x.contiguous(memory_format=torch.channels_last)
    bits = torch.empty(x.shape[0], *x.shape[2:], num_words(x.shape[1]), dtype=torch.int32)
    values = None if bias is None else bias.detach().contiguous()
    compiled()[0].pack(name, x, values, bits, torch.get_num_threads())
    return bits


def unpack(bits: Int32[Tensor, "b h w words"], channels: int) -> Float[Tensor, "b c h w"]:
    """+1.0 and -1.0, channels-last."""
    name = kernel_at_work()
    _check_words(bits, channels)
    if name == REFERENCE:
        return reference.unpack(bits, channels)
    out = torch.empty(*bits.shape[:3], channels)
    compiled()[0].unpack(bits.contiguous(), out, torch.get_num_threads())
    return out.permute(0, 3, 1, 2)


def conv(
    bits: Int32[Tensor, "b h w words"],
    weight: PackedWeight,
    stride: int = 1,
    dtype: torch.dtype = torch.int32,
) -> Int[Tensor, "b o h2 w2"]:
    """The 1-bit convolution with zeros around the image: exact integers, int32 or int16."""
    name = kernel_at_work()
    _check_words(bits, weight.in_channels)
    _check_stride(stride)
    largest = weight.in_channels * weight.kernel**2
    if dtype not in {torch.int16, torch.int32} or largest > torch.iinfo(dtype).max:
        raise ValueError(
            f"sums of up to {largest} do not fit {dtype}; take torch.int16 up to 32767, "
            "torch.int32 above"
        )
    if name == REFERENCE:
        return reference.conv(bits, weight, stride, dtype)
    out = torch.empty(*_output_size(bits, stride), weight.out_channels, dtype=dtype)
    run = getattr(compiled()[0], {torch.int16: "conv_int16", torch.int32: "conv_int32"}[dtype])
    run(name, *_layer(bits, weight), weight.kernel, stride, out, torch.get_num_threads())
    return out.permute(0, 3, 1, 2)


def conv_block(
    bits: Int32[Tensor, "b h w words"],
    weight: PackedWeight,
    epilogue: Epilogue,
    shortcuts: Sequence[Float[Tensor, "b _ _ _"]],
    stride: int = 1,
    out: Float[Tensor, "b o h2 w2"] | None = None,
) -> tuple[Float[Tensor, "b o h2 w2"], Int32[Tensor, "n b h2 w2 out_words"]]:
    """The convolution and its epilogue: the block's output, and its signs for the next layers.

    The shortcut is one tensor, or two whose channels stand side by side. Each has the output's
    height and width, twice them (means of 2x2 pixels are taken), or half (each pixel serves four).
    Where channels are more than the output's, means of neighbours are taken; fewer are repeated.
    `out`, channels-last and no shortcut of this call, is memory for the output to be used again:
    above 32 MiB the page faults of new memory cost as much as the convolution.
    """
    name = kernel_at_work()
    _check_words(bits, weight.in_channels)
    _check_stride(stride)
    size = (*_output_size(bits, stride), weight.out_channels)
    shortcuts = [_on_cpu(source, "shortcut") for source in shortcuts]
    _check_shortcuts(shortcuts, size)
    if out is None:
        out = torch.empty(size).permute(0, 3, 1, 2)
    _check_out(out, size)
    if name == REFERENCE:
        result, next_bits = reference.conv_block(bits, weight, stride, epilogue, shortcuts)
        return out.copy_(result), next_bits
    next_bias = epilogue.next_bias.detach().contiguous()
    next_bits = torch.empty(len(next_bias), *size[:3], num_words(size[3]), dtype=torch.int32)
    sources = [source.permute(0, 2, 3, 1).contiguous() for source in shortcuts]
    compiled()[0].conv_block(
        name,
        *_layer(bits, weight),
        weight.kernel,
        stride,
        epilogue.channel_values,
        sources[0],
        sources[1] if len(sources) == 2 else None,
        next_bias,
        out.permute(0, 2, 3, 1),
        next_bits,
        torch.get_num_threads(),
    )
    return out, next_bits


def linear(bits: Int32[Tensor, "b n words"], weight: PackedWeight) -> Int32[Tensor, "b n o"]:
    """The 1-bit linear layer: exact integers."""
    return conv(bits[:, None], weight)[:, :, 0].transpose(1, 2)


def linear_block(
    bits: Int32[Tensor, "b n words"],
    weight: PackedWeight,
    epilogue: Epilogue,
    shortcut: Float[Tensor, "b n c"],
) -> tuple[Float[Tensor, "b n o"], Int32[Tensor, "next b n out_words"]]:
    """The linear layer and its epilogue, as `conv_block`."""
    source = shortcut[:, None].permute(0, 3, 1, 2)
    out, next_bits = conv_block(bits[:, None], weight, epilogue, [source])
    return out[:, :, 0].transpose(1, 2), next_bits[:, :, 0]


def attention(
    query: Int32[Tensor, "b n words"],
    key: Int32[Tensor, "b m words"],
    value: Int32[Tensor, "b m words"],
    channels: int,
    num_heads: int,
) -> Int32[Tensor, "b n c"]:
    """For each query and head: the sum of the values whose keys score above 0.35 of the largest."""
    name = kernel_at_work()
    if channels % num_heads:
        raise ValueError(f"{channels} channels do not divide into {num_heads} heads")
    for bits in (query, key, value):
        _check_words(bits, channels)
    thresholds = _thresholds(channels // num_heads)
    if name == REFERENCE:
        return reference.attention(query, key, value, channels, num_heads, thresholds)
    out = torch.empty(*query.shape[:2], channels, dtype=torch.int32)
    arrays = (bits.contiguous() for bits in (query, key, value))
    compiled()[0].attention(name, *arrays, num_heads, thresholds, out, torch.get_num_threads())
    return out


_thresholds = cache(attention_thresholds)


def _layer(bits: Tensor, weight: PackedWeight) -> tuple[Tensor, Tensor, Tensor]:
    return bits.contiguous(), weight.blocks, weight.offsets


def _output_size(bits: Tensor, stride: int) -> tuple[int, int, int]:
    batch, height, width, _ = bits.shape
    return batch, (height - 1) // stride + 1, (width - 1) // stride + 1


def _on_cpu(x: Tensor, what: str) -> Tensor:
    if x.device.type != "cpu" or x.dtype != torch.float32:
        raise ValueError(
            f"{what} is {x.dtype} on {x.device}, but the packed kernels work on float32 on the "
            f"CPU; pass {what}.float().cpu()"
        )
    return x.detach()


def _check_words(bits: Tensor, channels: int) -> None:
    if bits.shape[-1] != num_words(channels):
        raise ValueError(
            f"bits have {bits.shape[-1]} words a pixel, but {channels} channels want "
            f"{num_words(channels)}; pack as many channels as the layer reads"
        )


def _check_stride(stride: int) -> None:
    if stride not in (1, 2):
        raise ValueError(f"stride is {stride}, but must be 1 or 2")


def _check_out(out: Tensor, size: Sequence[int]) -> None:
    pixels_last = out.permute(0, 2, 3, 1)
    if tuple(pixels_last.shape) != tuple(size) or not pixels_last.is_contiguous():
        batch, height, width, channels = size
        raise ValueError(
            f"out is {tuple(out.shape)}, but must be {(batch, channels, height, width)} and "
            "channels-last; make it with torch.empty(..., memory_format=torch.channels_last)"
        )


def _check_shortcuts(shortcuts: Sequence[Tensor], size: Sequence[int]) -> None:
    if len(shortcuts) not in (1, 2):
        raise ValueError(f"got {len(shortcuts)} shortcuts, but a block wants one or two")
    batch, height, width, channels = size
    total = sum(source.shape[1] for source in shortcuts)
    fits = channels % total == 0
    if total > channels:
        group = total // channels
        fits = total % channels == 0 and all(s.shape[1] % group == 0 for s in shortcuts)
    if not fits:
        raise ValueError(
            f"shortcuts have {[s.shape[1] for s in shortcuts]} channels, the output {channels}: "
            "one must be a multiple of the other"
        )
    for source in shortcuts:
        h, w = source.shape[2:]
        sizes = [(h, w), (h // 2, w // 2), (2 * h, 2 * w)]
        if source.shape[0] != batch or (height, width) not in sizes:
            raise ValueError(
                f"a shortcut has batch {source.shape[0]} and size {h}x{w}, but the output has "
                f"batch {batch} and {height}x{width}: the sizes must be equal, or one twice the "
                "other"
            )
