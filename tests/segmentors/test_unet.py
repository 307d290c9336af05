"""`unet` against MONAI's BasicUNet, which it is written after: every bit must be the same."""

import pytest
import torch
from monai.networks.nets.basic_unet import BasicUNet as MonaiUNet

from hidiff.segmentors.unet import BasicUNet, unet
from tests.segmentors.same_bits import same_bits_when_trained


def monai_unet(channels: int, planes: int, width: int) -> MonaiUNet:
    return MonaiUNet(
        spatial_dims=2,
        in_channels=channels,
        out_channels=planes,
        features=(width, width, 2 * width, 4 * width, 8 * width, width),
        norm="batch",
        act=("LeakyReLU", {"negative_slope": 0.1, "inplace": True}),
    )


@pytest.mark.parametrize(("channels", "planes", "width"), [(3, 1, 8), (1, 4, 4), (2, 2, 32)])
def test_it_is_monais_basic_unet_bit_for_bit(channels, planes, width):
    sizes = [(64, 96), (32, 32), (33, 47)]  # odd sides lose a row or column on the way down
    same_bits_when_trained(
        lambda: BasicUNet(channels, planes, width),
        lambda: monai_unet(channels, planes, width),
        [torch.randn(2, channels, *size) for size in sizes],
    )


def test_checkpoints_go_from_the_one_to_the_other_and_back():
    ours, theirs = unet(3, 2, 8).network, monai_unet(3, 2, 8)
    theirs.load_state_dict(ours.state_dict())
    unet(3, 2, 8).network.load_state_dict(theirs.state_dict())
    image = torch.randn(1, 3, 64, 64)
    assert torch.equal(ours(image), theirs(image))
