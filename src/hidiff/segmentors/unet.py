"""The default segmentor: MONAI's BasicUNet in two dimensions, written out.

It gives bit for bit what MONAI's class gives, from the same seed or the same checkpoint: names,
order of construction and arithmetic are MONAI's, and a test compares them. Importing MONAI takes
longer than a whole prediction, so the segmentors of the shipped models do without it.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from hidiff.segmentors.hooks import HookedSegmentor


def unet(image_channels: int, num_planes: int, width: int = 32) -> HookedSegmentor:
    """MONAI's BasicUNet: strides 1 to 16 at 1, 1, 2, 4, 8 times the width, batch norm.

    The features come from its decoder; the one at stride 32 is pooled from its deepest level.
    Batch norm, not MONAI's default instance norm: it treats a patch like a whole image.
    """
    layers = {4: "upcat_3", 8: "upcat_4", 16: "down_4"}
    return HookedSegmentor(BasicUNet(image_channels, num_planes, width), layers, image_channels)


class BasicUNet(nn.Module):
    """The network; the names of its parameters are those of MONAI's checkpoints."""

    def __init__(self, image_channels: int, num_planes: int, width: int):
        super().__init__()
        c0, c1, c2, c3, c4 = (width * times for times in (1, 1, 2, 4, 8))
        self.conv_0 = two_convolutions(image_channels, c0, _leaky_relu)
        self.down_1 = _down(c0, c1)
        self.down_2 = _down(c1, c2)
        self.down_3 = _down(c2, c3)
        self.down_4 = _down(c3, c4)
        self.upcat_4 = _up(c4, c4 // 2, c3)
        self.upcat_3 = _up(c3, c3 // 2, c2)
        self.upcat_2 = _up(c2, c2 // 2, c1)
        self.upcat_1 = _up(c1, c1, c0)  # the last step keeps its channels
        self.final_conv = nn.Conv2d(c0, num_planes, kernel_size=1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        x0 = self.conv_0(image)
        x1 = self.down_1(x0)
        x2 = self.down_2(x1)
        x3 = self.down_3(x2)
        x = self.upcat_4(self.down_4(x3), x3)
        x = self.upcat_3(x, x2)
        x = self.upcat_2(x, x1)
        return self.final_conv(self.upcat_1(x, x0))


class UpCat(nn.Module):
    """Upsample, append to the encoder's map of that size where there is one, convolve twice."""

    def __init__(self, upsample: nn.Module, convolutions: nn.Module):
        super().__init__()
        self.upsample = upsample
        self.convs = convolutions

    def forward(
        self, x: Float[Tensor, "b c h w"], skip: Float[Tensor, "b s H W"] | None = None
    ) -> Float[Tensor, "b d H W"]:
        x = self.upsample(x)
        if skip is not None:
            # Halving an odd side drops its last row or column: repeat the one before it.
            below, right = (int(skip.shape[axis] != x.shape[axis]) for axis in (2, 3))
            x = torch.cat([skip, pad(x, (0, right, 0, below), "replicate")], dim=1)
        return self.convs(x)


def two_convolutions(
    inputs: int, outputs: int, activation: Callable[[], nn.Module], bias: bool = True
) -> nn.Sequential:
    """Return two 3x3 convolutions, each followed by batch norm and the activation."""
    return named(
        conv_0=_convolution(inputs, outputs, activation, bias),
        conv_1=_convolution(outputs, outputs, activation, bias),
    )


def _convolution(
    inputs: int, outputs: int, activation: Callable[[], nn.Module], bias: bool
) -> nn.Sequential:
    return named(
        conv=nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=bias),
        # MONAI's letters: norm, activation
        adn=named(N=nn.BatchNorm2d(outputs), A=activation()),
    )


def _leaky_relu() -> nn.Module:
    return nn.LeakyReLU(negative_slope=0.1, inplace=True)


def _down(inputs: int, outputs: int) -> nn.Sequential:
    return named(
        max_pooling=nn.MaxPool2d(kernel_size=2),
        convs=two_convolutions(inputs, outputs, _leaky_relu),
    )


def _up(inputs: int, upsampled: int, outputs: int) -> UpCat:
    """Return one step of the decoder, whose skip has as many channels as its output."""
    deconv = nn.ConvTranspose2d(inputs, upsampled, kernel_size=2, stride=2)
    return UpCat(named(deconv=deconv), two_convolutions(upsampled + outputs, outputs, _leaky_relu))


def named(**modules: nn.Module) -> nn.Sequential:
    """Return the modules in a row, under their names."""
    return nn.Sequential(OrderedDict(modules))
