"""Every segmentor of the registry as small as it can be made, and what it needs installed."""

from importlib.util import find_spec

import pytest
import torch

from hidiff.segmentors import SEGMENTORS, HookedSegmentor, SegmentorSettings, make_segmentor
from hidiff.segmentors.torchvision_operators import declare_torchvision_operators

declare_torchvision_operators()

LEVELS = {"channels": [4, 8, 8, 8, 8]}
SMP = {"encoder_name": "tu-test_resnet"}
OPTIONS = {
    "unet": {"width": 8},
    "efficientnet_lite0_unet": {"width": 4},
    "efficientnet_lite0_fpn": {"width": 8},
    "merit": {"sizes": [96, 64], "channels": [32, 32, 64, 64], "depths": [1, 1, 1, 1]},
    "monai.UNet": LEVELS,
    "monai.AttentionUnet": LEVELS,
    "monai.BasicUNetPlusPlus": {"features": [8, 8, 8, 8, 8, 8]},
    "monai.DynUNet": {"filters": [4, 8, 8, 8, 8, 8]},
    "monai.SegResNet": {"init_filters": 4},
    "monai.UNETR": {
        "img_size": 64, "feature_size": 4, "hidden_size": 16, "mlp_dim": 16, "num_heads": 2,
    },
    "monai.SwinUNETR": {"feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]},
    "monai.FlexibleUNet": {"backbone": "resnet10", "decoder_channels": [16, 8, 8, 8, 4]},
    "smp.Unet": {**SMP, "decoder_channels": [16, 8, 8, 8, 8]},
    "smp.UnetPlusPlus": {**SMP, "decoder_channels": [16, 8, 8, 8, 8]},
    "smp.FPN": {**SMP, "decoder_pyramid_channels": 8, "decoder_segmentation_channels": 32},
    "smp.DeepLabV3Plus": {**SMP, "decoder_channels": 8},
    "smp.UPerNet": {**SMP, "decoder_channels": 8},
    "smp.Segformer": {**SMP, "decoder_segmentation_channels": 8},
    "timm": {"backbone": "test_convnext", "width": 8},
    "transformers.Segformer": {
        "depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16], "decoder_hidden_size": 8,
        "num_attention_heads": [1, 1, 2, 2],
    },
    "transformers.UperNet": {
        "hidden_size": 8,
        "backbone_config": {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]},
    },
}  # fmt: skip

# segmentor, or all of a library's -> the module that it needs, and the extra that brings it
NEEDS = {
    "merit": ("timm", "timm"),
    "monai.UNETR": ("einops", "unetr"),
    "monai.SwinUNETR": ("einops", "unetr"),
    "smp": ("segmentation_models_pytorch", "smp"),
    "timm": ("timm", "timm"),
    "transformers": ("transformers", "transformers"),
}


def needs(name: str) -> tuple[str, str] | None:
    """The module and the extra that a segmentor needs, if any."""
    return NEEDS.get(name, NEEDS.get(name.split(".")[0]))


def _param(name: str):
    if name == "nnunet":
        elsewhere = pytest.mark.skip(reason="it is read from a trained folder: test_nnunet.py")
        return pytest.param(name, marks=elsewhere)
    needed = needs(name)
    if needed is None or find_spec(needed[0]):
        return name
    reason = f"the extra {needed[1]} is not installed"
    return pytest.param(name, marks=pytest.mark.skip(reason=reason))


every_segmentor = pytest.mark.parametrize("name", [_param(name) for name in SEGMENTORS])


def make_small(name: str, channels: int = 3, planes: int = 2, seed: int = 0) -> HookedSegmentor:
    torch.manual_seed(seed)
    settings = SegmentorSettings(name=name, options=OPTIONS.get(name, {}))
    return make_segmentor(settings, channels, planes)


def sizes(segmentor: HookedSegmentor) -> list[tuple[int, int]]:
    """Two sizes of images that it takes, or the only one."""
    return [segmentor.input_size] if segmentor.input_size else [(64, 64), (96, 160)]


def an_image(segmentor: HookedSegmentor, count: int = 2) -> torch.Tensor:
    return torch.randn(count, segmentor.image_channels, *sizes(segmentor)[0])
