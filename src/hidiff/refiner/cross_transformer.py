"""The two-way cross transformer: image and mask features ask each other, at stride 32."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hidiff.binary import Linear, Precision, RPReLU, TimeBias, TimeScale
from hidiff.refiner.attention import AttentionOutput, CrossAttention, TokenNorm
from hidiff.refiner.blocks import ConditionBlock

POOL_WINDOWS = ((3, 1), (1, 3), (5, 1), (1, 5))  # height, width
FFN_RATIO = 4


class FeedForward(nn.Module):
    """Adds the attention's answer to its stream, then a 1-bit two-layer network and four pools."""

    def __init__(self, channels: int, time: int, precision: Precision):
        super().__init__()
        hidden = FFN_RATIO * channels
        self.norm = TokenNorm(channels)
        self.bias1 = TimeBias(time, channels)
        self.linear1 = Linear(channels, hidden, bias=False, precision=precision)
        self.norm1 = TokenNorm(hidden)
        self.activation1 = RPReLU(time, hidden)
        self.bias2 = TimeBias(time, hidden)
        self.linear2 = Linear(hidden, channels, bias=False, precision=precision)
        self.norm2 = TokenNorm(channels)
        self.activation2 = RPReLU(time, channels)
        self.scale = TimeScale(time, channels, start=1.0)
        self.pool_scales = nn.ModuleList(TimeScale(time, channels, start=0.1) for _ in POOL_WINDOWS)

    def forward(
        self, stream: Tensor, answer: Tensor, time: Tensor, grid: tuple[int, int]
    ) -> Tensor:
        h = answer + stream
        x = self.norm(h)
        inner = self.norm1(self.linear1(self.bias1(x, time)))
        inner = self.activation1(inner + torch.cat([x] * FFN_RATIO, dim=2), time)
        outer = self.norm2(self.linear2(self.bias2(inner, time)))
        outer = outer + inner.unflatten(2, (-1, FFN_RATIO)).mean(dim=3)
        out = self.scale(self.activation2(outer, time), time) + h
        map_ = to_map(x, grid)
        for scale, window in zip(self.pool_scales, POOL_WINDOWS, strict=True):
            padding = (window[0] // 2, window[1] // 2)
            pooled = functional.avg_pool2d(map_, window, stride=1, padding=padding)
            out = out + scale(to_tokens(pooled), time)
        return out


class CrossTransformer(nn.Module):
    """Mask features (b, c, h, w) out of mask features and an image feature of the same grid.

    `published_layout` reads the tokens out as the paper's code does, (b, n, c) taken for
    (b, c, h, w) without a transpose: a mistake there, kept for its own checkpoints alone.
    """

    def __init__(
        self,
        feature: int,
        channels: int,
        time: int,
        precision: Precision,
        condition: str,
        published_layout: bool = False,
    ):
        super().__init__()
        self.published_layout = published_layout
        self.condition = ConditionBlock(feature, channels, time, condition)
        self.image_norm1 = TokenNorm(channels)
        self.mask_norm1 = TokenNorm(channels)
        self.attention1 = CrossAttention(channels, time, precision)
        self.output1 = AttentionOutput(channels, time, precision)
        self.feed_forward1 = FeedForward(channels, time, precision)
        self.image_norm2 = TokenNorm(channels)
        self.mask_norm2 = TokenNorm(channels)
        self.attention2 = CrossAttention(channels, time, precision)
        self.output2 = AttentionOutput(channels, time, precision)
        self.feed_forward2 = FeedForward(channels, time, precision)

    def forward(self, x: Tensor, condition: Tensor, time: Tensor) -> Tensor:
        grid = (x.shape[2], x.shape[3])
        image = to_tokens(condition)
        mask = to_tokens(x)
        mask_normed = self.mask_norm1(mask)
        answer = self.attention1(mask_normed, self.image_norm1(image), time)
        image = self.feed_forward1(image, self.output1(answer, time), time, grid)
        answer = self.attention2(self.image_norm2(image), self.mask_norm2(mask_normed), time)
        mask = self.feed_forward2(mask, self.output2(answer, time), time, grid)
        if self.published_layout:
            return mask.reshape(x.shape)
        return to_map(mask, grid)


def to_tokens(x: Tensor) -> Tensor:
    """Reshape (b, c, h, w) to (b, h w, c)."""
    return x.flatten(2).transpose(1, 2)


def to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Reshape (b, h w, c) to (b, c, h, w): undo `to_tokens`."""
    return tokens.transpose(1, 2).unflatten(2, grid)
