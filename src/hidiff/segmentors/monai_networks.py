"""MONAI's networks as segmentors."""

from monai.networks.nets.basic_unet import BasicUNet

from hidiff.segmentors.hooks import HookedSegmentor


def unet(image_channels: int, num_planes: int, width: int = 32) -> HookedSegmentor:
    """MONAI's BasicUNet: strides 1 to 16 at 1, 1, 2, 4, 8 times the width, batch norm.

    The features come from its decoder, the one at stride 32 is pooled from its deepest level.
    Batch norm, not MONAI's default instance norm: a patch and a whole image are seen alike.
    """
    network = BasicUNet(
        spatial_dims=2,
        in_channels=image_channels,
        out_channels=num_planes,
        features=(width, width, 2 * width, 4 * width, 8 * width, width),
        norm="batch",
        act=("LeakyReLU", {"negative_slope": 0.1, "inplace": True}),
    )
    layers = {4: "upcat_3", 8: "upcat_4", 16: "down_4"}
    return HookedSegmentor(network, layers, image_channels)
