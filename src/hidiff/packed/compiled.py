"""The engine of a compiled kernel. Its checks are those of csrc/module.cpp.

Threads are as many as `torch.get_num_threads()`.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from hidiff.packed.engine import Engine
from hidiff.packed.layout import Epilogue, PackedWeight, num_words
from hidiff.packed.real import convolve, has_kernel, real_weight

INTERFACE = 3  # of csrc/module.cpp, whose functions are called here


@cache
def load_kernels() -> tuple[Any, str]:
    """Return the compiled module, or None and the reason why there is none."""
    try:
        module = import_module("hidiff.packed._kernels")
    except ImportError as error:
        return None, f"the kernels were not compiled when HiDiff was installed ({error})"
    interface = getattr(module, "INTERFACE", 1)
    if interface != INTERFACE:
        return None, (
            f"the kernels were compiled for another version of HiDiff (their interface is "
            f"{interface}, this version wants {INTERFACE})"
        )
    return module, ""


class CompiledEngine(Engine):
    """An engine that runs the compiled kernel with this name."""

    def __init__(self, name: str):
        module, problem = load_kernels()
        if module is None:
            raise ValueError(f"there is no kernel {name!r}: {problem}")
        self.name = name
        self._kernel = module.kernel(name)

    def __reduce__(self) -> tuple[type, tuple[str]]:
        # The kernel lies in the compiled module: copies, in other processes too, find it by name.
        return CompiledEngine, (self.name,)

    def _pack(self, x: Tensor, bias: Tensor | None) -> Tensor:
        if not x.is_contiguous():
            x = x.contiguous(memory_format=torch.channels_last)
        bits = torch.empty(x.shape[0], *x.shape[2:], num_words(x.shape[1]), dtype=torch.int32)
        values = None if bias is None else bias.detach().contiguous()
        self._run("pack", x=x, bias=values, bits=bits)
        return bits

    def _unpack(self, bits: Tensor, channels: int) -> Tensor:
        out = torch.empty(*bits.shape[:3], max(channels, 0))
        self._run("unpack", bits=bits.contiguous(), out=out)
        return out.permute(0, 3, 1, 2)

    def _conv(self, bits: Tensor, weight: PackedWeight, stride: int, out: Tensor) -> None:
        self._run(
            "conv_int16" if out.dtype == torch.int16 else "conv_int32",
            bits=bits.contiguous(),
            blocks=weight.blocks,
            offsets=weight.offsets,
            kernel=weight.kernel,
            stride=stride,
            out=_channels_last(out),
        )

    def _conv_block(
        self,
        bits: Tensor,
        weight: PackedWeight,
        epilogue: Epilogue,
        shortcuts: Sequence[Tensor],
        stride: int,
        out: Tensor,
    ) -> Tensor:
        next_bias = epilogue.next_bias.detach().contiguous()
        pixels_last = _channels_last(out)
        size = (len(next_bias), *pixels_last.shape[:-1], num_words(pixels_last.shape[-1]))
        next_bits = torch.empty(size, dtype=torch.int32)
        self._run(
            "conv_block",
            bits=bits.contiguous(),
            blocks=weight.blocks,
            offsets=weight.offsets,
            kernel=weight.kernel,
            stride=stride,
            channel_values=epilogue.channel_values,
            shortcuts=[_channels_last(source).contiguous() for source in shortcuts],
            next_bias=next_bias,
            out=pixels_last,
            next_bits=next_bits,
        )
        return next_bits

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        channels: int,
        num_heads: int,
        thresholds: Tensor,
    ) -> Tensor:
        out = torch.empty(*query.shape[:2], channels, dtype=torch.int32)
        self._run(
            "attention",
            query=query.contiguous(),
            key=key.contiguous(),
            value=value.contiguous(),
            heads=num_heads,
            thresholds=thresholds,
            out=out,
        )
        return out

    def convolve(
        self,
        layer: nn.Module,
        *sources: Tensor,
        norm: nn.GroupNorm | None = None,
        added: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        if self.name == "portable" or not has_kernel(layer):
            # plain C++ has no instruction for a fused multiply and add
            return convolve(layer, sources, norm, added)
        assert isinstance(layer, nn.Conv2d)
        weight = real_weight(layer)
        maps = [_in_rows(source.detach()) for source in sources]
        factor, shift = (None, None) if norm is None else self._norm(maps, norm)
        batch, height, width, _ = maps[0].shape
        stride = weight.stride
        if out is None:
            size = (batch, (height - 1) // stride + 1, (width - 1) // stride + 1)
            out = torch.empty(*size, weight.out_channels).permute(0, 3, 1, 2)
        self._run(
            "real_conv",
            sources=maps,
            factor=factor,
            shift=shift,
            blocks=weight.blocks,
            bias=weight.bias,
            kernel=weight.kernel,
            stride=stride,
            added=None if added is None else _channels_last(added.detach()).contiguous(),
            out=_channels_last(out),
        )
        return out

    def modulate(
        self, x: Tensor, factor: Tensor, shift: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        rows = _channels_last(x.detach()).contiguous()
        out = torch.empty(rows.shape)
        bits = torch.empty(*rows.shape[:3], num_words(rows.shape[3]), dtype=torch.int32)
        self._run(
            "modulate",
            x=rows,
            factor=factor.detach().contiguous(),
            shift=shift.detach().contiguous(),
            bias=bias.detach().contiguous(),
            out=out,
            bits=bits,
        )
        return out.permute(0, 3, 1, 2), bits

    def join(self, left: Tensor, right: Tensor, left_channels: int, right_channels: int) -> Tensor:
        words = num_words(left_channels + right_channels)
        out = torch.empty(*left.shape[:-1], words, dtype=torch.int32)
        self._run(
            "join",
            left=left.contiguous(),
            right=right.contiguous(),
            left_channels=left_channels,
            right_channels=right_channels,
            out=out,
        )
        return out

    def _norm(self, maps: Sequence[Tensor], norm: nn.GroupNorm) -> tuple[Tensor, Tensor]:
        """Return a group norm of each image as factor and shift of each channel."""
        x = maps[0] if len(maps) == 1 else torch.cat(list(maps), dim=3)
        factor, shift = (torch.empty(x.shape[0], x.shape[3]) for _ in range(2))
        self._run(
            "norm",
            x=x.contiguous(),
            groups=norm.num_groups,
            weight=norm.weight.detach(),
            bias=norm.bias.detach(),
            eps=norm.eps,
            factor=factor,
            shift=shift,
        )
        return factor, shift

    def _run(self, operation: str, **arguments: Any) -> None:
        """Call the kernel. Raises ValueError for arrays that it does not take."""
        arrays = {name: _as_array(value) for name, value in arguments.items()}
        try:
            getattr(self._kernel, operation)(**arrays, threads=torch.get_num_threads())
        except TypeError as error:
            described = ", ".join(f"{k} is {_describe(v)}" for k, v in arguments.items())
            raise ValueError(
                f"{operation}: {described}. The packed kernels work on the CPU, on int32 bits and "
                "on float32 maps (batch, channels, height, width); `out` must be channels-last. "
                "For a tensor x of another type or device pass x.float().cpu()."
            ) from error


def _channels_last(x: Tensor) -> Tensor:
    """Return b c h w as b h w c; anything else as it is, for the kernel to refuse."""
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x


def _in_rows(x: Tensor) -> Tensor:
    """Return b c h w as b h w c, whose rows follow each other in memory."""
    rows = _channels_last(x)
    if rows.ndim == 4 and rows.stride(1) != rows.shape[2] * rows.stride(2):
        return rows.contiguous()
    return rows


def _as_array(value: Any) -> Any:
    """Return a tensor as the NumPy array of its memory, which is handed over in less time.

    What cannot be one stays as it is, for the kernel to refuse.
    """
    if isinstance(value, list):
        return [_as_array(each) for each in value]
    if not isinstance(value, Tensor):
        return value
    try:
        return value.numpy()
    except (RuntimeError, TypeError):
        return value


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        size = "x".join(map(str, value.shape))
        layout = "" if value.is_contiguous() else ", not contiguous"
        return f"{value.dtype} {size} on {value.device}{layout}"
    if isinstance(value, list):
        return f"[{', '.join(map(_describe, value))}]"
    return repr(value)
