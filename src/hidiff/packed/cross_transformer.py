"""The two-way cross transformer on bits, with a little float work between its 1-bit layers."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hidiff.packed.engine import Engine
from hidiff.packed.modules import Affine, PackedLayer, TimeAffine
from hidiff.packed.shape import Shape
from hidiff.packed.steps import StepTable, StepValues


class PackedAttention(nn.Module):
    """The attention of one stream (queries) to the other (keys and values)."""

    scale: Float[Tensor, "c"]
    slope: Float[Tensor, "c"]

    def __init__(self, engine: Engine, table: StepTable, channels: int, num_heads: int):
        super().__init__()
        self.engine = engine
        self.num_heads = num_heads
        self.query, self.key, self.value = (
            PackedLayer(engine, table, channels, channels, kernel=1) for _ in range(3)
        )
        self.query_bias, self.key_bias, self.value_bias = (
            table.reserve(channels) for _ in range(3)
        )
        self.offset = table.reserve(channels)
        self.after = table.reserve(channels)
        self.register_buffer("scale", torch.empty(channels))
        self.register_buffer("slope", torch.empty(channels))

    def forward(
        self, asking: Float[Tensor, "b n c"], answering: Float[Tensor, "b n c"], row: StepValues
    ) -> Float[Tensor, "b n c"]:
        floats, bits = [], []
        for x, layer, bias in (
            (asking, self.query, self.query_bias),
            (answering, self.key, self.key_bias),
            (answering, self.value, self.value_bias),
        ):
            x_bits = self.engine.pack_tokens(x, row[layer.threshold])
            projected, projected_bits = layer.tokens(x_bits, x, row, [row[bias]])
            floats.append(projected)
            bits.append(projected_bits[0])
        query, key, value = floats
        query_bits, key_bits, value_bits = bits
        summed = self.engine.attention(
            query_bits, key_bits, value_bits, len(self.scale), self.num_heads
        )
        h = torch.addcmul(row[self.offset], summed.float(), self.scale) + query + key + value
        return torch.where(h > 0, h, self.slope * h) + row[self.after]


class PackedOutput(nn.Module):
    """The projection after the attention, scaled and shifted by t."""

    def __init__(self, engine: Engine, table: StepTable, channels: int):
        super().__init__()
        self.engine = engine
        self.projection = PackedLayer(engine, table, channels, channels, kernel=1)
        self.scale = TimeAffine(table, channels)

    def forward(self, x: Float[Tensor, "b n c"], row: StepValues) -> Float[Tensor, "b n c"]:
        bits = self.engine.pack_tokens(x, row[self.projection.threshold])
        return self.scale(self.projection.tokens(bits, x, row)[0], row)


class PackedFeedForward(nn.Module):
    """The two-layer network and the pools, on a stream to which the attention's answer is added."""

    def __init__(self, engine: Engine, table: StepTable, channels: int, shape: Shape):
        super().__init__()
        self.engine = engine
        hidden = shape.ffn_ratio * channels
        self.windows = shape.pool_windows
        self.norm = Affine(channels)
        self.linear1 = PackedLayer(engine, table, channels, hidden, kernel=1)
        self.linear2 = PackedLayer(engine, table, hidden, channels, kernel=1)
        self.scale = TimeAffine(table, channels)
        self.pool_scales = nn.ModuleList(TimeAffine(table, channels) for _ in self.windows)

    def forward(
        self,
        stream: Float[Tensor, "b n c"],
        answer: Float[Tensor, "b n c"],
        row: StepValues,
        grid: tuple[int, int],
    ) -> Float[Tensor, "b n c"]:
        h = answer + stream
        x = self.norm(h)
        bits = self.engine.pack_tokens(x, row[self.linear1.threshold])
        inner, inner_bits = self.linear1.tokens(bits, x, row, [row[self.linear2.threshold]])
        outer, _ = self.linear2.tokens(inner_bits[0], inner, row)
        out = self.scale(outer, row) + h
        map_ = to_map(x, grid)
        for scale, window in zip(self.pool_scales, self.windows, strict=True):
            padding = (window[0] // 2, window[1] // 2)
            pooled = functional.avg_pool2d(map_, window, stride=1, padding=padding)
            out = out + scale(to_tokens(pooled), row)
        return out


class PackedCrossTransformer(nn.Module):
    """The exchange between mask features and an image feature of the same size.

    Returns the new mask features.
    """

    def __init__(self, engine: Engine, table: StepTable, shape: Shape):
        super().__init__()
        channels = shape.channels[-1]
        self.published_layout = shape.published_layout
        self.image_norm1 = Affine(channels)
        self.mask_norm1 = Affine(channels)
        self.attention1 = PackedAttention(engine, table, channels, shape.num_heads)
        self.output1 = PackedOutput(engine, table, channels)
        self.feed_forward1 = PackedFeedForward(engine, table, channels, shape)
        self.image_norm2 = Affine(channels)
        self.mask_norm2 = Affine(channels)
        self.attention2 = PackedAttention(engine, table, channels, shape.num_heads)
        self.output2 = PackedOutput(engine, table, channels)
        self.feed_forward2 = PackedFeedForward(engine, table, channels, shape)

    def forward(
        self, x: Float[Tensor, "b c h w"], condition: Float[Tensor, "b c h w"], row: StepValues
    ) -> Float[Tensor, "b c h w"]:
        grid = (x.shape[2], x.shape[3])
        image, mask = to_tokens(condition), to_tokens(x)
        mask_normed = self.mask_norm1(mask)
        answer = self.attention1(mask_normed, self.image_norm1(image), row)
        image = self.feed_forward1(image, self.output1(answer, row), row, grid)
        answer = self.attention2(self.image_norm2(image), self.mask_norm2(mask_normed), row)
        mask = self.feed_forward2(mask, self.output2(answer, row), row, grid)
        if self.published_layout:
            return mask.reshape(x.shape)
        return to_map(mask, grid)


def to_tokens(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n c"]:
    """Return a map's pixels as tokens, row by row."""
    return x.flatten(2).transpose(1, 2)


def to_map(tokens: Float[Tensor, "b n c"], grid: tuple[int, int]) -> Float[Tensor, "b c h w"]:
    """Undo `to_tokens`."""
    return tokens.transpose(1, 2).unflatten(2, grid)
