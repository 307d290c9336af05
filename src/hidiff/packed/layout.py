"""The layout of bits in memory: 32 channels a word, 16 output channels a block of weights.

A word is an int32. Bit 1 stands for +1, bit 0 for -1; channel c is bit c % 32 of word c // 32, and
the bits past the last channel are 0. Bits of a feature map are (b, h, w, words), of tokens
(b, n, words); floats are (b, c, h, w), channels-last in memory where they come out.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int32
from torch import Tensor

from hidiff.binary import above_threshold

WORD = 32
BLOCK = 16
SIDES = ("top", "bottom", "left", "right")


def num_words(channels: int) -> int:
    """Return how many words hold so many channels."""
    return -(-channels // WORD)


def pack_bits(bits: Bool[Tensor, "*lead c"]) -> Int32[Tensor, "*lead words"]:
    """Pack the last dimension, 32 channels to a word."""
    words = num_words(bits.shape[-1])
    padded = torch.nn.functional.pad(bits, (0, words * WORD - bits.shape[-1]))
    weights = 1 << torch.arange(WORD, dtype=torch.int64)
    summed = (padded.unflatten(-1, (words, WORD)).to(torch.int64) * weights).sum(dim=-1)
    # the highest bit is the sign of an int32
    return torch.where(summed >= 1 << 31, summed - (1 << 32), summed).to(torch.int32)


def unpack_bits(words: Int32[Tensor, "*lead words"], channels: int) -> Bool[Tensor, "*lead c"]:
    """Undo `pack_bits`."""
    if num_words(channels) != words.shape[-1]:
        raise ValueError(
            f"bits have {words.shape[-1]} words of {WORD} channels, but {channels} channels want "
            f"{num_words(channels)}; pass the number of channels that was packed"
        )
    bits = words[..., None] >> torch.arange(WORD, dtype=torch.int32) & 1
    return bits.flatten(-2)[..., :channels].bool()


def join(
    left: Int32[Tensor, "*lead left_words"],
    right: Int32[Tensor, "*lead right_words"],
    left_channels: int,
    right_channels: int,
) -> Int32[Tensor, "*lead words"]:
    """Return the bits of channels that stand side by side: `pack_bits` of both at once."""
    shift = left_channels % WORD
    if shift == 0:
        return torch.cat([left, right], dim=-1)
    # one word more than needed, for the upper parts of the right's last word
    out = torch.nn.functional.pad(left, (0, right.shape[-1]))
    first, number = left.shape[-1] - 1, right.shape[-1]
    out[..., first : first + number] |= right << shift
    # a shift to the right copies the sign, which the mask takes out
    out[..., first + 1 :] |= (right >> (WORD - shift)) & ((1 << shift) - 1)
    return out[..., : num_words(left_channels + right_channels)]


@dataclass(frozen=True)
class PackedWeight:
    """The signs of a convolution's weights (3x3 or 1x1), or of a linear layer's (1x1).

    What the kernels read (`blocks`, `offsets`) is made once, so the signs must not change.
    """

    signs: Int32[Tensor, "o taps words"]
    in_channels: int

    @property
    def out_channels(self) -> int:
        return self.signs.shape[0]

    @property
    def kernel(self) -> int:
        """The kernel's side: 1 or 3."""
        return {1: 1, 9: 3}[self.signs.shape[1]]

    @cached_property
    def blocks(self) -> Int32[Tensor, "blocks k 16"]:
        """The order that the kernels read: word k (tap, then word) of 16 output channels."""
        flat = self.signs.flatten(1)
        padded = torch.nn.functional.pad(flat, (0, 0, 0, -len(flat) % BLOCK))
        return padded.unflatten(0, (-1, BLOCK)).transpose(1, 2).contiguous()

    @cached_property
    def offsets(self) -> Int32[Tensor, "16 padded"]:
        """The sums at each kind of border if no bit differed.

        A sum is this number minus twice the number of bits that differ. A padded zero is neither
        +1 nor -1. The kernels read it as -1, whose product with a weight is -weight: so the weights
        of the taps outside are added here, once and exactly. Row i is for a kernel that hangs over
        those sides whose bits are set in i, in the order of SIDES.
        """
        values = 2 * unpack_bits(self.signs, self.in_channels).to(torch.int32) - 1
        tap_sums = values.sum(dim=2, dtype=torch.int32)  # o taps
        rows = []
        for sides in range(2 ** len(SIDES)):
            outside = torch.zeros(self.kernel, self.kernel, dtype=torch.bool)
            if self.kernel == 3:
                for number, place in enumerate([(0,), (2,), (slice(None), 0), (slice(None), 2)]):
                    if sides >> number & 1:
                        outside[place] = True
            hidden = tap_sums[:, outside.flatten()].sum(dim=1, dtype=torch.int32)
            rows.append(self.in_channels * self.signs.shape[1] + hidden)
        table = torch.stack(rows)
        return torch.nn.functional.pad(table, (0, -table.shape[1] % BLOCK)).contiguous()


def pack_weight(weight: Float[Tensor, "o i *kernel"]) -> PackedWeight:
    """Return the signs (+1 where >= 0) of a convolution's or a linear layer's weights."""
    kernel = tuple(weight.shape[2:])
    if kernel not in {(), (1, 1), (3, 3)}:
        raise ValueError(
            f"weights have a kernel of {'x'.join(map(str, kernel))}, but only 3x3, 1x1 and linear "
            "layers have packed kernels; keep other layers in floats"
        )
    if not weight.numel():
        raise ValueError(f"weights are {tuple(weight.shape)}: no side may be 0")
    taps_last = weight.detach().reshape(*weight.shape[:2], -1).transpose(1, 2)
    return PackedWeight(pack_bits(taps_last >= 0), weight.shape[1])


@dataclass(frozen=True)
class Epilogue:
    """The numbers by which a block finishes a 1-bit layer's integer sums, in one pass over memory.

    out = PReLU(scale * sum + offset + shortcut) + bias, the four for each output channel. `scale`
    and `offset` hold the weights' scale, the batch norm and the first bias(t); `bias` the second.
    """

    scale: Float[Tensor, "o"]
    offset: Float[Tensor, "o"]
    slope: Float[Tensor, "o"]
    bias: Float[Tensor, "o"]
    # One row for each layer that reads the output: the bias it adds before it takes the sign.
    next_bias: Float[Tensor, "n o"]

    @cached_property
    def channel_values(self) -> Float[Tensor, "4 o"]:
        """All but `next_bias`, in one array."""
        values = torch.stack([self.scale, self.offset, self.slope, self.bias])
        return values.detach().contiguous()


def attention_thresholds(head_dim: int) -> Int32[Tensor, "scores"]:
    """Return a threshold for each largest score, -head_dim..head_dim, that a query can have.

    The query attends to the keys that score above it. Scores are integers. The table is made by
    the float model's own rule, so that rounding decides as it does there where a score is exactly
    0.35 of the largest.
    """
    scores = torch.arange(-head_dim, head_dim + 1)
    as_floats = scores / head_dim**0.5
    beside_largest = torch.stack(torch.broadcast_tensors(as_floats[:, None], as_floats), dim=-1)
    attended = above_threshold(beside_largest)  # largest, score, (largest, score)
    below_largest = scores <= scores[:, None]
    refused = below_largest & (attended[..., 1] == 0)
    lowest = -head_dim - 1
    return torch.where(refused, scores, lowest).amax(dim=1).to(torch.int32)
