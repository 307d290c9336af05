"""Any of timm's backbones (extra `timm`) with a light decoder of our own."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hidiff import weights
from hidiff.segmentors.base import STRIDES
from hidiff.segmentors.extras import check_offline, import_extra
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
    """A backbone of timm and a light decoder of `width` channels, whose maps are the features.

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
    network = BackboneUNet(encoder, num_planes, width)
    size = _pair(options["img_size"]) if "img_size" in options else _fixed_size(encoder)
    return freeze_unused(HookedSegmentor(network, network.layers, image_channels, size=size))


class BackboneUNet(nn.Module):
    """A backbone of several maps, and a top-down path over them as in a feature pyramid network.

    Each map goes to `width` channels by a 1x1 convolution, gets the next coarser one added, and
    is smoothed by a 3x3 convolution with batch norm; the finest gives the logits.
    """

    def __init__(self, encoder: nn.Module, num_planes: int, width: int):
        super().__init__()
        self.encoder = encoder
        info: Any = encoder.feature_info
        self.lateral = nn.ModuleList(nn.Conv2d(count, width, 1) for count in info.channels())
        self.smooth = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
            )
            for _ in info.channels()
        )
        self.head = nn.Conv2d(width, num_planes, 1)
        self.channels_last = str(getattr(encoder, "output_fmt", "")).endswith("NHWC")
        self.layers = {
            stride: f"smooth.{level}"
            for level, stride in enumerate(info.reduction())
            if stride in STRIDES
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


def check_taken(encoder: nn.Module, tensors: Mapping[str, Tensor], path: str) -> None:
    """Are the encoder's weights those of the file? timm passes in silence over what does not fit.

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


def _resize(map_: Tensor, size: torch.Size) -> Tensor:
    return functional.interpolate(map_, size, mode="bilinear", align_corners=False)


def _fixed_size(encoder: nn.Module) -> tuple[int, int] | None:
    """The only (height, width) that a backbone takes, as its patch embedding says."""
    for module in encoder.modules():
        if getattr(module, "strict_img_size", False):
            size: Any = module.img_size
            return _pair(size)
    return None


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
