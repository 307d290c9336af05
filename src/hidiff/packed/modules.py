"""Layers of the packed refiner: bits in, floats and the next layers' bits out.

`row` holds the StepTable's numbers for the step; every layer knows its slices of it.
"""

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Float, Int32
from torch import Tensor, nn

from hidiff.packed.engine import Engine
from hidiff.packed.layout import Epilogue, PackedWeight, num_words
from hidiff.packed.steps import StepTable, StepValues


class PackedLayer(nn.Module):
    """A 1-bit layer with the batch norm, shortcut and RPReLU after it: one call of a kernel.

    `threshold` is added to the input before its sign is taken. The weights must not change once
    the layer has run.
    """

    signs: Int32[Tensor, "o taps words"]
    scale: Float[Tensor, "o"]
    slope: Float[Tensor, "o"]

    def __init__(
        self,
        engine: Engine,
        table: StepTable,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
    ):
        super().__init__()
        self.engine = engine
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride
        self.threshold = table.reserve(in_channels)
        self.offset = table.reserve(out_channels)
        self.after = table.reserve(out_channels)
        shape = (out_channels, kernel**2, num_words(in_channels))
        self.register_buffer("signs", torch.empty(shape, dtype=torch.int32))
        self.register_buffer("scale", torch.empty(out_channels))
        self.register_buffer("slope", torch.empty(out_channels))
        self._last: tuple[Tensor, tuple[Tensor, ...], Epilogue] | None = None

    @cached_property
    def weight(self) -> PackedWeight:
        return PackedWeight(self.signs, self.in_channels)

    def forward(
        self,
        bits: Int32[Tensor, "b h w words"],
        shortcuts: Sequence[Float[Tensor, "b _ _ _"]],
        row: StepValues,
        next_bias: Sequence[Float[Tensor, "o"]] = (),
        out: Float[Tensor, "b o h2 w2"] | None = None,
    ) -> tuple[Float[Tensor, "b o h2 w2"], Int32[Tensor, "next b h2 w2 out_words"]]:
        """Return the block's output, and its signs for each layer that adds `next_bias` to it."""
        epilogue = self._epilogue(row, next_bias)
        return self.engine.conv_block(bits, self.weight, epilogue, shortcuts, self.stride, out)

    def tokens(
        self,
        bits: Int32[Tensor, "b n words"],
        shortcut: Float[Tensor, "b n c"],
        row: StepValues,
        next_bias: Sequence[Float[Tensor, "o"]] = (),
    ) -> tuple[Float[Tensor, "b n o"], Int32[Tensor, "next b n out_words"]]:
        """Run on tokens, as a linear layer."""
        epilogue = self._epilogue(row, next_bias)
        return self.engine.linear_block(bits, self.weight, epilogue, shortcut)

    def _epilogue(self, row: StepValues, next_bias: Sequence[Tensor]) -> Epilogue:
        # A network gives a layer the same readers each time, so the last epilogue mostly holds. The
        # tensors are kept with it, so that no other can take their places in memory.
        last = self._last  # read once, as another thread may put another one there
        if last is not None and last[0] is row and _are_same(last[1], next_bias):
            return last[2]
        stacked = torch.stack(list(next_bias)) if next_bias else row.new_empty(0, self.out_channels)
        made = Epilogue(self.scale, row[self.offset], self.slope, row[self.after], stacked)
        self._last = (row, tuple(next_bias), made)
        return made


def _are_same(left: Sequence[Tensor], right: Sequence[Tensor]) -> bool:
    """Return whether tensors are the same parts of memory, one by one."""
    return len(left) == len(right) and all(
        one.data_ptr() == other.data_ptr() and one.shape == other.shape
        for one, other in zip(left, right, strict=True)
    )


class Affine(nn.Module):
    """A batch norm that no longer learns: x * scale + shift, on tokens."""

    scale: Float[Tensor, "c"]
    shift: Float[Tensor, "c"]

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("scale", torch.empty(channels))
        self.register_buffer("shift", torch.empty(channels))

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        return torch.addcmul(self.shift, x, self.scale)


class TimeAffine(nn.Module):
    """A scale and a shift that depend on the step: x * scale(t) + bias(t), on tokens."""

    def __init__(self, table: StepTable, channels: int):
        super().__init__()
        self.scale = table.reserve(channels)
        self.bias = table.reserve(channels)

    def forward(self, x: Float[Tensor, "b n c"], row: StepValues) -> Float[Tensor, "b n c"]:
        return torch.addcmul(row[self.bias], x, row[self.scale])
