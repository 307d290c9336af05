"""The light decoder of a feature pyramid network, for any backbone that gives several maps."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hidiff.segmentors.base import STRIDES


class FeaturePyramidNetwork(nn.Module):
    """A backbone of several maps, finest first, and a top-down path over them (Lin et al., 2017).

    Each map goes to `width` channels by a 1x1 convolution, gets the next coarser one added, and
    is smoothed by a 3x3 convolution with batch norm; the finest gives the logits, which are
    interpolated to the image's size. `channels` and `strides` are those of the backbone's maps;
    `channels_last` if they are (b, h, w, channels).
    """

    def __init__(
        self,
        encoder: nn.Module,
        channels: Sequence[int],
        strides: Sequence[int],
        num_planes: int,
        width: int,
        channels_last: bool = False,
    ):
        super().__init__()
        self.encoder = encoder
        self.lateral = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.smooth = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
            )
            for _ in channels
        )
        self.head = nn.Conv2d(width, num_planes, 1)
        self.channels_last = channels_last
        self.layers = {
            stride: f"smooth.{level}" for level, stride in enumerate(strides) if stride in STRIDES
        }

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        maps = self.encoder(image)
        if self.channels_last:
            maps = [each.movedim(-1, 1) for each in maps]
        coarser: Tensor | None = None
        levels = zip(maps, self.lateral, self.smooth, strict=True)
        for each, lateral, smooth in reversed(list(levels)):
            finer = lateral(each)
            if coarser is not None:
                finer = finer + _resize(coarser, finer.shape[2:])
            coarser = smooth(finer)
        assert coarser is not None
        return _resize(self.head(coarser), image.shape[2:])


def _resize(map_: Tensor, size: torch.Size) -> Tensor:
    return functional.interpolate(map_, size, mode="bilinear", align_corners=False)
