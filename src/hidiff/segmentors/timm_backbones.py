"""Any of timm's backbones (extra `timm`) with the decoder of a feature pyramid network."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hidiff import weights
from hidiff.extras import import_extra
from hidiff.segmentors.feature_pyramid import FeaturePyramidNetwork
from hidiff.segmentors.hooks import HookedSegmentor
from hidiff.segmentors.unused import freeze_unused


def timm_backbone(
    image_channels: int,
    num_planes: int,
    backbone: str = "convnext_tiny",
    encoder_weights: str | None = None,
    width: int = 128,
    **options: Any,
) -> HookedSegmentor:
    """A backbone of timm and a feature pyramid of `width` channels, whose maps are the features.

    ConvNeXt-T by default: 96, 192, 384 and 768 channels, as the paper's segmentor has.
    `encoder_weights` is a file of the classifier's weights as timm publishes them; nothing is
    downloaded. The options are those of timm.create_model for the backbone, such as
    drop_path_rate; img_size makes one of a fixed size, as some (MaxViT, Swin) must be.
    """
    timm = import_extra("timm", "timm")
    check_offline(backbone)
    tensors = None if encoder_weights is None else weights.load_foreign(encoder_weights)
    trained: dict[str, Any] = {"pretrained": False}
    if tensors is not None:
        trained = {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": dict(tensors)}}
    encoder = timm.create_model(
        backbone, features_only=True, in_chans=image_channels, **trained, **options
    )
    if tensors is not None:
        check_taken(encoder, tensors, str(encoder_weights))
    info: Any = encoder.feature_info
    network = FeaturePyramidNetwork(
        encoder,
        info.channels(),
        info.reduction(),
        num_planes,
        width,
        channels_last=str(getattr(encoder, "output_fmt", "")).endswith("NHWC"),
    )
    size = _pair(options["img_size"]) if "img_size" in options else _fixed_size(encoder)
    return freeze_unused(HookedSegmentor(network, network.layers, image_channels, size=size))


def check_taken(encoder: nn.Module, tensors: Mapping[str, Tensor], path: str) -> None:
    """Check that the encoder's weights are the file's.

    The library timm skips what does not fit, without a word.

    Half of them will do: some are not as they were in the file, for other sizes or channels.
    """
    values: dict[torch.Size, list[Tensor]] = {}
    for tensor in tensors.values():
        values.setdefault(tensor.shape, []).append(tensor)
    weighty = [each for each in encoder.parameters() if each.ndim > 1]
    taken = sum(
        any(torch.equal(each, value.to(each.dtype)) for value in values.get(each.shape, []))
        for each in weighty
    )
    if 2 * taken < len(weighty):
        raise ValueError(
            f"segmentor.options.encoder_weights, {path}, do not fit: of {len(weighty)} weights of "
            f"the encoder only {taken} are there. Give timm's file of the same architecture."
        )


def _fixed_size(encoder: nn.Module) -> tuple[int, int] | None:
    """Return the only (height, width) that a backbone takes, as its patch embedding says."""
    for module in encoder.modules():
        if getattr(module, "strict_img_size", False):
            size: Any = module.img_size
            return _pair(size)
    return None


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def check_offline(name: str) -> None:
    """Refuse a model's name that timm would look up on a hub, such as hf-hub:owner/model."""
    if ":" in name:
        raise ValueError(
            f"{name} names a model of a hub, but nothing is downloaded here. Give the name of one "
            "of timm's architectures, and a file of weights as encoder_weights."
        )
