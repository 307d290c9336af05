"""The refiner's own looks at the image: where the segmentor gives no features, and finer ones."""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from hidiff.refiner.blocks import Convolve, convolve_normed, group_norm

FACTORS = (1, 2, 4, 8)  # times the width, at strides 4, 8, 16, 32


class ImageEncoder(nn.Module):
    """An image -> features at strides 4, 8, 16 and 32 of 1, 2, 4 and 8 times the width.

    A plain real-valued network: a 3x3 convolution of stride 2, then four levels of one more and a
    residual 3x3 one, with group norm and SiLU. The refiner's optimizer trains it.
    """

    def __init__(self, image_channels: int, width: int):
        super().__init__()
        self.feature_channels = tuple(width * factor for factor in FACTORS)
        self.stem = nn.Conv2d(image_channels, width, 3, stride=2, padding=1)
        self.levels = nn.ModuleList(
            Level(a, b) for a, b in pairwise((width, *self.feature_channels))
        )

    def forward(
        self, image: Float[Tensor, "b c h w"], convolve: Convolve = convolve_normed
    ) -> tuple[Tensor, ...]:
        x, features = convolve(self.stem, image), []
        for level in self.levels:
            x = level(x, convolve)
            features.append(x)
        return tuple(features)


class FineEncoder(nn.Module):
    """An image -> features at strides 1 and 2, of `width` channels each.

    Real-valued too: a 3x3 convolution, and one level more.
    """

    def __init__(self, image_channels: int, width: int):
        super().__init__()
        self.feature_channels = (width, width)
        self.stem = nn.Conv2d(image_channels, width, 3, padding=1)
        self.level = Level(width, width)

    def forward(
        self, image: Float[Tensor, "b c h w"], convolve: Convolve = convolve_normed
    ) -> tuple[Tensor, ...]:
        finest = convolve(self.stem, image)
        return finest, self.level(finest, convolve)


class Level(nn.Module):
    """Half the sides, by a convolution of stride 2 and a residual one."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.norm1 = group_norm(in_channels)
        self.down = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.norm2 = group_norm(out_channels)
        self.conv = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(
        self, x: Float[Tensor, "b c h w"], convolve: Convolve = convolve_normed
    ) -> Float[Tensor, "b C H W"]:
        x = convolve(self.down, x, norm=self.norm1)
        return convolve(self.conv, x, norm=self.norm2, added=x)
