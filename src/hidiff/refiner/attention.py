"""Cross attention between two token streams (b, n, c), with 1-bit linear layers and weights."""

import math

from torch import Tensor, nn

from hidiff.binary import Linear, Precision, RPReLU, TimeBias, TimeScale

NUM_HEADS = 4


class TokenNorm(nn.BatchNorm1d):
    """Batch norm over the channels of tokens (b, n, c)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.flatten(0, 1)).view_as(input)


class Projection(nn.Module):
    """RPReLU(BN(linear(x + bias(t))) + x): the query, key or value of a stream."""

    def __init__(self, channels: int, time: int, precision: Precision):
        super().__init__()
        self.bias = TimeBias(time, channels)
        self.linear = Linear(channels, channels, bias=False, precision=precision)
        self.norm = TokenNorm(channels)
        self.activation = RPReLU(time, channels)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.activation(self.norm(self.linear(self.bias(x, time))) + x, time)


class CrossAttention(nn.Module):
    """One stream asks (query), the other answers (key, value); both (b, n, c) on one grid."""

    def __init__(self, channels: int, time: int, precision: Precision):
        super().__init__()
        self.precision = precision
        self.query = Projection(channels, time, precision)
        self.key = Projection(channels, time, precision)
        self.value = Projection(channels, time, precision)
        self.query_bias = TimeBias(time, channels)
        self.key_bias = TimeBias(time, channels)
        self.value_bias = TimeBias(time, channels)
        self.norm = TokenNorm(channels)
        self.activation = RPReLU(time, channels)

    def forward(self, asking: Tensor, answering: Tensor, time: Tensor) -> Tensor:
        query = self.query(asking, time)
        key = self.key(answering, time)
        value = self.value(answering, time)
        bits = self.precision.activation
        query_heads = _heads(bits(self.query_bias(query, time)))
        key_heads = _heads(bits(self.key_bias(key, time)))
        value_heads = _heads(bits(self.value_bias(value, time)))
        scores = query_heads @ key_heads.transpose(-1, -2) / math.sqrt(query_heads.shape[-1])
        context = self.precision.attention(scores) @ value_heads
        context = context.transpose(1, 2).flatten(2)
        return self.activation(self.norm(context) + query + key + value, time)


class AttentionOutput(nn.Module):
    """The projection after the attention, scaled and shifted by t."""

    def __init__(self, channels: int, time: int, precision: Precision):
        super().__init__()
        self.projection = Projection(channels, time, precision)
        self.scale = TimeScale(time, channels, start=1.0)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.scale(self.projection(x, time), time)


def _heads(x: Tensor) -> Tensor:
    """Reshape (b, n, c) to (b, heads, n, c / heads)."""
    return x.unflatten(2, (NUM_HEADS, -1)).transpose(1, 2)
