"""MONAI's networks as segmentors; the options are MONAI's own arguments.

All have batch norm where MONAI lets choose (its default is mostly instance norm): with it a patch
and a whole image are treated alike. The features come from the decoder where it has their strides.

Each function imports its network when it is called: importing MONAI takes longer than importing
torch, and the names alone, which every command knows, need none of it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from hidiff.extras import import_extra
from hidiff.segmentors.base import STRIDES
from hidiff.segmentors.hooks import HookedSegmentor
from hidiff.segmentors.unused import freeze_unused


def residual_unet(
    image_channels: int,
    num_planes: int,
    channels: Sequence[int] = (16, 32, 64, 128, 256),
    strides: Sequence[int] = (2, 2, 2, 2),
    num_res_units: int = 2,
    norm: str = "batch",
    **options: Any,
) -> HookedSegmentor:
    """MONAI's UNet, with the residual units of its tutorials."""
    from monai.networks.nets.unet import UNet

    network = UNet(
        2, image_channels, num_planes, channels, strides,
        num_res_units=num_res_units, norm=norm, **options,
    )  # fmt: skip
    names = ["model" + ".1.submodule" * depth for depth in range(1, len(channels))]
    return _with_layers(network, image_channels, dict(zip(_products(strides), names, strict=False)))


def attention_unet(
    image_channels: int,
    num_planes: int,
    channels: Sequence[int] = (16, 32, 64, 128, 256),
    strides: Sequence[int] = (2, 2, 2, 2),
    **options: Any,
) -> HookedSegmentor:
    """MONAI's AttentionUnet: its skip connections pass through attention gates."""
    from monai.networks.nets.attentionunet import AttentionUnet

    network = AttentionUnet(2, image_channels, num_planes, channels, strides, **options)
    depths = range(1, len(channels))
    names = ["model.1" + ".submodule.1" * depth for depth in depths[:-1]]
    names.append("model.1" + ".submodule.1" * (depths[-1] - 1) + ".submodule")
    return _with_layers(network, image_channels, dict(zip(_products(strides), names, strict=False)))


def unet_plus_plus(
    image_channels: int, num_planes: int, norm: str = "batch", **options: Any
) -> HookedSegmentor:
    """MONAI's BasicUNetPlusPlus: nested decoders; of its outputs the last one counts."""
    from monai.networks.nets.basic_unetplusplus import BasicUNetPlusPlus

    network = BasicUNetPlusPlus(2, image_channels, num_planes, norm=norm, **options)
    layers = {4: "upcat_2_2", 8: "upcat_3_1", 16: "conv_4_0"}
    return _with_layers(network, image_channels, layers)


def dynunet(
    image_channels: int,
    num_planes: int,
    kernel_size: Sequence[int] = (3, 3, 3, 3, 3, 3),
    strides: Sequence[int] = (1, 2, 2, 2, 2, 2),
    norm_name: str = "batch",
    **options: Any,
) -> HookedSegmentor:
    """MONAI's DynUNet, the U-Net of nnU-Net: strides 1 to 32."""
    from monai.networks.nets.dynunet import DynUNet

    network = DynUNet(
        2, image_channels, num_planes, kernel_size, strides,
        upsample_kernel_size=options.pop("upsample_kernel_size", strides[1:]),
        norm_name=norm_name, **options,
    )  # fmt: skip
    decoder = [f"upsamples.{index}" for index in reversed(range(len(strides) - 1))]
    names = [*decoder, "bottleneck"]
    return _with_layers(network, image_channels, dict(zip(_products(strides), names, strict=True)))


def segresnet(
    image_channels: int,
    num_planes: int,
    init_filters: int = 32,
    blocks_down: Sequence[int] = (1, 2, 2, 4),
    blocks_up: Sequence[int] = (1, 1, 1),
    norm: str = "batch",
    **options: Any,
) -> HookedSegmentor:
    """MONAI's SegResNet, with the 32 filters of its paper (Myronenko 2018): strides 1 to 8."""
    from monai.networks.nets.segresnet import SegResNet

    network = SegResNet(
        2, init_filters, image_channels, num_planes,
        blocks_down=tuple(blocks_down), blocks_up=tuple(blocks_up), norm=norm, **options,
    )  # fmt: skip
    deepest = len(blocks_down) - 1
    layers = {2**deepest: f"down_layers.{deepest}"}
    layers |= {2 ** (deepest - 1 - up): f"up_layers.{up}" for up in range(len(blocks_up))}
    return _with_layers(network, image_channels, layers)


def unetr(
    image_channels: int,
    num_planes: int,
    img_size: int | Sequence[int] = (256, 256),
    norm_name: str = "batch",
    **options: Any,
) -> HookedSegmentor:
    """MONAI's UNETR, a vision transformer under a U-Net's decoder: for images of `img_size` only.

    Extra `unetr`.
    """
    from monai.networks.nets.unetr import UNETR

    import_extra("einops", "unetr")
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    network = UNETR(
        image_channels, num_planes, (height, width), norm_name=norm_name, spatial_dims=2, **options
    )
    layers = {4: "decoder4", 8: "decoder5"}
    return _with_layers(network, image_channels, layers, size=(height, width))


def swin_unetr(
    image_channels: int, num_planes: int, norm_name: str = "batch", **options: Any
) -> HookedSegmentor:
    """MONAI's SwinUNETR: a Swin transformer and a U-Net's decoder. Extra `unetr`."""
    from monai.networks.nets.swin_unetr import SwinUNETR

    import_extra("einops", "unetr")
    network = SwinUNETR(image_channels, num_planes, norm_name=norm_name, spatial_dims=2, **options)
    layers = {4: "decoder3", 8: "decoder4", 16: "decoder5", 32: "encoder10"}
    return _with_layers(network, image_channels, layers)


def flexible_unet(
    image_channels: int, num_planes: int, backbone: str = "efficientnet-b0", **options: Any
) -> HookedSegmentor:
    """MONAI's FlexibleUNet: a U-Net on an EfficientNet or a ResNet.

    Untrained, as MONAI would download its weights. `efficientnet_lite0_unet`, "smp.Unet" and
    "timm" are its kin that start from weights at hand.
    """
    from monai.networks.nets.flexible_unet import FlexibleUNet

    if options.get("pretrained"):
        raise ValueError(
            "pretrained is true, but MONAI would download the weights, and nothing is downloaded "
            "here. Leave it out, or take smp.Unet with encoder_weights, a file."
        )
    network = FlexibleUNet(image_channels, num_planes, backbone, **options)
    layers = {4: "decoder.blocks.2", 8: "decoder.blocks.1", 16: "decoder.blocks.0", 32: "encoder"}
    return _with_layers(network, image_channels, layers)


MONAI: dict[str, Callable[..., HookedSegmentor]] = {
    "monai.UNet": residual_unet,
    "monai.BasicUNetPlusPlus": unet_plus_plus,
    "monai.AttentionUnet": attention_unet,
    "monai.DynUNet": dynunet,
    "monai.SegResNet": segresnet,
    "monai.UNETR": unetr,
    "monai.SwinUNETR": swin_unetr,
    "monai.FlexibleUNet": flexible_unet,
}


def _products(strides: Sequence[int]) -> list[int]:
    """Return the factor by which maps are smaller than the image after each stride."""
    products = [1]
    for stride in strides:
        products.append(products[-1] * stride)
    return products[1:]


def _with_layers(network, image_channels: int, layers: dict[int, str], **fixed) -> HookedSegmentor:
    """Return the network with its layers at strides 4 to 32, or else with its deepest layer."""
    wanted = {stride: name for stride, name in layers.items() if stride in STRIDES}
    deepest = max(layers)
    return freeze_unused(
        HookedSegmentor(network, wanted or {deepest: layers[deepest]}, image_channels, **fixed)
    )
