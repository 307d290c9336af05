"""The packed cross transformer in plain operators, the same numbers bit for bit."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hidiff.export.plain_layers import (
    Activation,
    TokenLayer,
    affine,
    half_signs,
    multiply_add,
    time_affine,
)
from hidiff.packed.cross_transformer import (
    PackedAttention,
    PackedCrossTransformer,
    PackedFeedForward,
    PackedOutput,
    to_map,
    to_tokens,
)
from hidiff.packed.layout import attention_thresholds
from hidiff.packed.modules import TimeAffine
from hidiff.packed.steps import StepValues


class PlainAttention(nn.Module):
    """The attention of one stream (queries) to the other (keys and values)."""

    thresholds: Float[Tensor, "scores"]

    def __init__(self, packed: PackedAttention):
        super().__init__()
        self.query, self.key, self.value = (
            TokenLayer(layer) for layer in (packed.query, packed.key, packed.value)
        )
        self.biases = (packed.query_bias, packed.key_bias, packed.value_bias)
        self.activation = Activation(packed, (-1,))
        self.num_heads = packed.num_heads
        self.head_dim = len(packed.scale) // packed.num_heads
        self.register_buffer("thresholds", attention_thresholds(self.head_dim).float())

    def forward(
        self, asking: Float[Tensor, "b n c"], answering: Float[Tensor, "b n c"], row: StepValues
    ) -> Float[Tensor, "b n c"]:
        floats = (self.query(asking, row), self.key(answering, row), self.value(answering, row))
        query, key, value = (
            half_signs(x >= -row[bias])
            .unflatten(2, (self.num_heads, self.head_dim))
            .transpose(1, 2)
            for x, bias in zip(floats, self.biases, strict=True)
        )
        scores = 4 * (query @ key.transpose(-1, -2))  # whole numbers
        largest = scores.amax(dim=-1, keepdim=True)
        attended = scores > self.thresholds[(largest + self.head_dim).long()]
        summed = (attended.to(value.dtype) @ (2 * value)).transpose(1, 2).flatten(2)
        h = multiply_add(summed, self.activation.scale, row[self.activation.offset])
        return self.activation.finish(h, row, *floats)


class PlainOutput(nn.Module):
    """The projection after the attention, scaled and shifted by t."""

    def __init__(self, packed: PackedOutput):
        super().__init__()
        self.projection, self.scale = TokenLayer(packed.projection), packed.scale

    def forward(self, x: Float[Tensor, "b n c"], row: StepValues) -> Float[Tensor, "b n c"]:
        return time_affine(self.scale, self.projection(x, row), row)


class PlainFeedForward(nn.Module):
    """The two-layer network and the pools, on a stream to which the attention's answer is added."""

    def __init__(self, packed: PackedFeedForward):
        super().__init__()
        self.norm, self.scale, self.pool_scales = packed.norm, packed.scale, packed.pool_scales
        self.windows = packed.windows
        self.linear1, self.linear2 = TokenLayer(packed.linear1), TokenLayer(packed.linear2)

    def forward(
        self,
        stream: Float[Tensor, "b n c"],
        answer: Float[Tensor, "b n c"],
        row: StepValues,
        grid: tuple[int, int],
    ) -> Float[Tensor, "b n c"]:
        h = answer + stream
        x = affine(self.norm, h)
        out = time_affine(self.scale, self.linear2(self.linear1(x, row), row), row) + h
        map_ = to_map(x, grid)
        for scale, window in zip(self.pool_scales, self.windows, strict=True):
            padding = (window[0] // 2, window[1] // 2)
            pooled = functional.avg_pool2d(map_, window, stride=1, padding=padding)
            assert isinstance(scale, TimeAffine)
            out = out + time_affine(scale, to_tokens(pooled), row)
        return out


class PlainCrossTransformer(nn.Module):
    """The exchange between mask features and an image feature of the same size."""

    def __init__(self, packed: PackedCrossTransformer):
        super().__init__()
        self.published_layout = packed.published_layout
        self.image_norm1, self.mask_norm1 = packed.image_norm1, packed.mask_norm1
        self.attention1 = PlainAttention(packed.attention1)
        self.output1 = PlainOutput(packed.output1)
        self.feed_forward1 = PlainFeedForward(packed.feed_forward1)
        self.image_norm2, self.mask_norm2 = packed.image_norm2, packed.mask_norm2
        self.attention2 = PlainAttention(packed.attention2)
        self.output2 = PlainOutput(packed.output2)
        self.feed_forward2 = PlainFeedForward(packed.feed_forward2)

    def forward(
        self, x: Float[Tensor, "b c h w"], condition: Float[Tensor, "b c h w"], row: StepValues
    ) -> Float[Tensor, "b c h w"]:
        grid = (x.shape[2], x.shape[3])
        image, mask = to_tokens(condition), to_tokens(x)
        mask_normed = affine(self.mask_norm1, mask)
        answer = self.attention1(mask_normed, affine(self.image_norm1, image), row)
        image = self.feed_forward1(image, self.output1(answer, row), row, grid)
        image_normed = affine(self.image_norm2, image)
        answer = self.attention2(image_normed, affine(self.mask_norm2, mask_normed), row)
        mask = self.feed_forward2(mask, self.output2(answer, row), row, grid)
        return mask.reshape(x.shape) if self.published_layout else to_map(mask, grid)
