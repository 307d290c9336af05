"""CASCADE: an attention-gated decoder of four feature maps (Rahman and Marculescu, WACV 2023)."""

from itertools import pairwise

import torch
from jaxtyping import Float
from monai.networks.blocks.convolutions import Convolution
from monai.networks.nets.attentionunet import AttentionBlock
from monai.networks.nets.basic_unet import TwoConv
from torch import Tensor, nn

RELU = ("relu", {"inplace": True})


class ChannelAttention(nn.Module):
    """Weighs each channel by its mean and its maximum over the map (CBAM, ECCV 2018)."""

    def __init__(self, channels: int):
        super().__init__()
        inner = max(channels // 16, 1)
        self.shared = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, channels, 1, bias=False),
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        mean, most = x.mean(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.shared(mean) + self.shared(most))


class SpatialAttention(nn.Module):
    """Weighs each pixel by the mean and the maximum of its channels (CBAM)."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        seen = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.conv(seen))


def attend(channels: int) -> nn.Sequential:
    """The paper's convolutional attention module: channels, then pixels, then two convolutions."""
    convolutions = TwoConv(2, channels, channels, act=RELU, norm="batch", bias=True)
    return nn.Sequential(ChannelAttention(channels), SpatialAttention(), convolutions)


class Cascade(nn.Module):
    """The decoder with additive skips; `channels` of its four maps, fine to coarse.

    Maps of as many channels come out, at the sizes that went in.
    """

    def __init__(self, channels: tuple[int, ...]):
        super().__init__()
        coarse_first = channels[::-1]
        self.deepest = nn.Conv2d(coarse_first[0], coarse_first[0], 1)
        self.ups = nn.ModuleList(
            nn.Sequential(
                nn.Upsample(scale_factor=2),
                Convolution(2, coarse, fine, kernel_size=3, act=RELU, norm="batch"),
            )
            for coarse, fine in pairwise(coarse_first)
        )
        self.gates = nn.ModuleList(
            AttentionBlock(2, f_int=fine // 2, f_g=fine, f_l=fine) for fine in coarse_first[1:]
        )
        self.attends = nn.ModuleList(attend(each) for each in coarse_first)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        deepest, *skips = reversed(features)
        decoded = [self.attends[0](self.deepest(deepest))]
        for up, gate, refine, skip in zip(
            self.ups, self.gates, self.attends[1:], skips, strict=True
        ):
            x = up(decoded[-1])
            decoded.append(refine(x + gate(x, skip)))
        return decoded[::-1]
