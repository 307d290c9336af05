"""EfficientNet-Lite0 and its decoder against MONAI's, changed as Lite0 wants them: bit for bit."""

import pytest
import torch
from monai.networks.nets.efficientnet import EfficientNet, MBConvBlock
from monai.networks.nets.flexible_unet import UNetDecoder
from torch import nn

from hidiff.segmentors.efficientnet import EfficientNetLite0
from hidiff.segmentors.efficientnet_lite import CHANNELS, Decoder
from tests.segmentors.same_bits import same_bits_when_trained

STAGES = [
    "r1_k3_s11_e1_i32_o16",
    "r2_k3_s22_e6_i16_o24",
    "r2_k5_s22_e6_i24_o40",
    "r3_k3_s22_e6_i40_o80",
    "r3_k5_s11_e6_i80_o112",
    "r4_k5_s22_e6_i112_o192",
    "r1_k3_s11_e6_i192_o320",
]


def monai_lite0() -> EfficientNet:
    """MONAI's EfficientNet-B0 with ReLU6, without squeeze-and-excitation and drop connect."""
    network = EfficientNet(STAGES, norm="batch", drop_connect_rate=0.0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
        if isinstance(module, EfficientNet | MBConvBlock):
            module._swish = nn.ReLU6(inplace=True)
        if isinstance(module, MBConvBlock):
            depthwise = module._depthwise_conv
            nn.init.kaiming_normal_(depthwise.weight)
            if depthwise.stride == (1, 1):
                depthwise.padding = tuple(side // 2 for side in depthwise.kernel_size)
                module._depthwise_conv_padding = nn.Identity()
    return network


def monai_decoder(width: int) -> UNetDecoder:
    return UNetDecoder(
        spatial_dims=2,
        encoder_channels=(3, *CHANNELS.values()),
        decoder_channels=tuple(width * times for times in (8, 4, 2, 2, 1)),
        act=("relu", {"inplace": True}),
        norm="batch",
        dropout=0.0,
        bias=False,
        upsample="nontrainable",
        pre_conv="default",
        interp_mode="nearest",
        align_corners=None,
        is_pad=False,
    )


def test_the_classifier_is_monais_bit_for_bit():
    images = [torch.randn(2, 3, 64, 64), torch.randn(1, 3, 96, 160)]
    same_bits_when_trained(EfficientNetLite0, monai_lite0, images)


@pytest.mark.parametrize("width", [4, 16])
def test_the_decoder_is_monais_bit_for_bit(width):
    scales = CHANNELS.items()
    maps = [torch.randn(2, channels, 64 // stride, 96 // stride) for stride, channels in scales]
    encoder, decoder = list(CHANNELS.values()), [width * times for times in (8, 4, 2, 2, 1)]
    same_bits_when_trained(lambda: Decoder(encoder, decoder), lambda: monai_decoder(width), [maps])
