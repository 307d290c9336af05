"""The packed operations, bound to one kernel: what every layer of a packed model computes with.

`choose_engine` picks one when a model is packed or loaded. All engines give the same numbers, bit
for bit, but for the convolutions that stay float: these are equal up to rounding.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache

import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor, nn

from hidiff.packed.layout import Epilogue, PackedWeight, attention_thresholds, join
from hidiff.packed.real import convolve


class Engine(ABC):
    """The packed operations. A subclass computes them; here is what all of them share.

    Here stand the checks without which no output could be made. Everything else is checked by the
    subclass, before it reads any array. Whatever does not fit raises ValueError.
    """

    name: str
    """the kernel, as HIDIFF_KERNEL has it"""

    def pack(
        self, x: Float[Tensor, "b c h w"], bias: Float[Tensor, "c"] | None = None
    ) -> Int32[Tensor, "b h w words"]:
        """Return the signs of x + bias as bits, 1 where it is >= 0."""
        if x.ndim != 4:
            raise ValueError(
                f"x has {x.ndim} dimensions, but must have 4: batch, channels, height, width; "
                "take pack_tokens for tokens"
            )
        return self._pack(x.detach(), bias)

    def pack_tokens(
        self, x: Float[Tensor, "b n c"], bias: Float[Tensor, "c"]
    ) -> Int32[Tensor, "b n words"]:
        """Return the signs of x + bias, for tokens."""
        return self.pack(x[:, None].permute(0, 3, 1, 2), bias)[:, 0]

    def unpack(self, bits: Int32[Tensor, "b h w words"], channels: int) -> Float[Tensor, "b c h w"]:
        """Return +1.0 for each bit 1 and -1.0 for each bit 0, channels-last."""
        _check_map(bits)
        return self._unpack(bits, channels)

    def conv(
        self,
        bits: Int32[Tensor, "b h w words"],
        weight: PackedWeight,
        stride: int = 1,
        dtype: torch.dtype = torch.int32,
    ) -> Int[Tensor, "b o h2 w2"]:
        """Return the 1-bit convolution with zeros around the image: exact int32 or int16 sums."""
        largest = weight.in_channels * weight.kernel**2
        if dtype not in {torch.int16, torch.int32} or largest > torch.iinfo(dtype).max:
            raise ValueError(
                f"sums of up to {largest} do not fit {dtype}; take torch.int16 up to 32767, "
                "torch.int32 above"
            )
        out = _empty_output(bits, weight, stride, dtype)
        self._conv(bits, weight, stride, out)
        return out

    def conv_block(
        self,
        bits: Int32[Tensor, "b h w words"],
        weight: PackedWeight,
        epilogue: Epilogue,
        shortcuts: Sequence[Float[Tensor, "b _ _ _"]],
        stride: int = 1,
        out: Float[Tensor, "b o h2 w2"] | None = None,
    ) -> tuple[Float[Tensor, "b o h2 w2"], Int32[Tensor, "n b h2 w2 out_words"]]:
        """Run the convolution and its epilogue; return the output and its signs for next layers.

        The shortcut is one tensor, or two whose channels stand side by side. Each has the output's
        height and width, twice them (means of 2x2 pixels are taken), or half (each pixel serves
        four). More channels than the output's: means of neighbours are taken; fewer are repeated.
        `out`, channels-last and no shortcut of this call, is memory for the output that is used
        again: above 32 MiB the page faults of new memory cost as much as the convolution.
        """
        if out is None:
            out = _empty_output(bits, weight, stride, torch.float32)
        sources = [source.detach() for source in shortcuts]
        return out, self._conv_block(bits, weight, epilogue, sources, stride, out)

    def linear(
        self, bits: Int32[Tensor, "b n words"], weight: PackedWeight
    ) -> Int32[Tensor, "b n o"]:
        """Return the 1-bit linear layer's exact sums."""
        return self.conv(bits[:, None], weight)[:, :, 0].transpose(1, 2)

    def linear_block(
        self,
        bits: Int32[Tensor, "b n words"],
        weight: PackedWeight,
        epilogue: Epilogue,
        shortcut: Float[Tensor, "b n c"],
    ) -> tuple[Float[Tensor, "b n o"], Int32[Tensor, "next b n out_words"]]:
        """Run the linear layer and its epilogue, like `conv_block`."""
        source = shortcut[:, None].permute(0, 3, 1, 2)
        out, next_bits = self.conv_block(bits[:, None], weight, epilogue, [source])
        return out[:, :, 0].transpose(1, 2), next_bits[:, :, 0]

    def attention(
        self,
        query: Int32[Tensor, "b n words"],
        key: Int32[Tensor, "b m words"],
        value: Int32[Tensor, "b m words"],
        channels: int,
        num_heads: int,
    ) -> Int32[Tensor, "b n c"]:
        """Return, for each query and head, the sum of the values it attends to.

        Those are the values whose keys score above 0.35 of the query's largest score.
        """
        if channels < 1 or num_heads < 1 or channels % num_heads:
            raise ValueError(f"{channels} channels do not divide into {num_heads} heads")
        thresholds = _thresholds(channels // num_heads)
        return self._attention(query, key, value, channels, num_heads, thresholds)

    def convolve(
        self,
        layer: nn.Module,
        *sources: Float[Tensor, "b _ h w"],
        norm: nn.GroupNorm | None = None,
        added: Float[Tensor, "b o h2 w2"] | None = None,
        out: Float[Tensor, "b o h2 w2"] | None = None,
    ) -> Float[Tensor, "b o h2 w2"]:
        """Return layer(silu(norm(x))) + added, a convolution that stays float.

        The channels of `sources` stand side by side. Without a norm there is no SiLU. `out` is
        memory as for `conv_block`, and may be left unused. Engines agree up to rounding.
        """
        return convolve(layer, sources, norm, added)

    def modulate(
        self,
        x: Float[Tensor, "b c h w"],
        factor: Float[Tensor, "c"],
        shift: Float[Tensor, "c"],
        bias: Float[Tensor, "c"],
    ) -> tuple[Float[Tensor, "b c h w"], Int32[Tensor, "b h w words"]]:
        """Return x * factor + shift, and the signs of that + bias."""
        out = x * factor[:, None, None] + shift[:, None, None]
        return out, self.pack(out, bias)

    def join(
        self,
        left: Int32[Tensor, "b h w left_words"],
        right: Int32[Tensor, "b h w right_words"],
        left_channels: int,
        right_channels: int,
    ) -> Int32[Tensor, "b h w words"]:
        """Return the bits of channels that stand side by side."""
        return join(left, right, left_channels, right_channels)

    @abstractmethod
    def _pack(self, x: Tensor, bias: Tensor | None) -> Tensor: ...

    @abstractmethod
    def _unpack(self, bits: Tensor, channels: int) -> Tensor: ...

    @abstractmethod
    def _conv(self, bits: Tensor, weight: PackedWeight, stride: int, out: Tensor) -> None:
        """Write the sums into `out`."""

    @abstractmethod
    def _conv_block(
        self,
        bits: Tensor,
        weight: PackedWeight,
        epilogue: Epilogue,
        shortcuts: Sequence[Tensor],
        stride: int,
        out: Tensor,
    ) -> Tensor:
        """Write the block's output into `out`; return its signs for the next layers."""

    @abstractmethod
    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        channels: int,
        num_heads: int,
        thresholds: Tensor,
    ) -> Tensor: ...


_thresholds = cache(attention_thresholds)


def _check_map(bits: Tensor) -> None:
    if bits.ndim != 4:
        raise ValueError(
            f"bits have {bits.ndim} dimensions, but must have 4: batch, height, width, words; "
            "take linear or linear_block for tokens"
        )


def _empty_output(bits: Tensor, weight: PackedWeight, stride: int, dtype: torch.dtype) -> Tensor:
    """Return memory for a convolution's output, channels-last."""
    _check_map(bits)
    if stride not in (1, 2):
        raise ValueError(f"stride is {stride}, but must be 1 or 2")
    batch, height, width, _ = bits.shape
    size = (batch, (height - 1) // stride + 1, (width - 1) // stride + 1, weight.out_channels)
    return torch.empty(size, dtype=dtype).permute(0, 3, 1, 2)
