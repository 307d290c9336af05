"""Networks of Hugging Face's transformers (extra `transformers`), made from their configurations.

The options are arguments of the configurations. Their heads have batch norm, their encoders layer
norm. Nothing is downloaded: `encoder_weights` is a folder that holds config.json and
model.safetensors, as save_pretrained writes it or the hub's page of a model offers them.
"""

from pathlib import Path
from typing import Any

from torch import nn

from hidiff.extras import import_extra
from hidiff.segmentors.base import STRIDES
from hidiff.segmentors.hooks import HookedSegmentor
from hidiff.segmentors.unused import freeze_unused


def segformer(
    image_channels: int, num_planes: int, encoder_weights: str | None = None, **options: Any
) -> HookedSegmentor:
    """SegformerForSemanticSegmentation, of the size of MiT-B0; options are SegformerConfig's.

    Its logits at stride 4 are interpolated to the image. `encoder_weights` is a folder.
    """
    library = import_extra("transformers", "transformers")
    config = _config(
        library.SegformerConfig, options, num_channels=image_channels, num_labels=num_planes
    )
    network = library.SegformerForSemanticSegmentation(config)
    if encoder_weights is not None:
        network.segformer = _trained(library.SegformerModel, config, encoder_weights)
    layers = {stride: "segformer" for stride in STRIDES}
    return freeze_unused(HookedSegmentor(network, layers, image_channels))


def upernet_swin(
    image_channels: int,
    num_planes: int,
    encoder_weights: str | None = None,
    backbone_config: dict[str, Any] | None = None,
    **options: Any,
) -> HookedSegmentor:
    """UperNetForSemanticSegmentation on Swin-T; options are UperNetConfig's.

    `backbone_config` holds SwinConfig's arguments. `encoder_weights` is a folder of a Swin.
    """
    library = import_extra("transformers", "transformers")
    swin = _config(
        library.SwinConfig,
        backbone_config or {},
        num_channels=image_channels,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    # the second head only serves a loss of the library's own
    options = {"use_auxiliary_head": False, **options}
    config = _config(library.UperNetConfig, options, backbone_config=swin, num_labels=num_planes)
    network = library.UperNetForSemanticSegmentation(config)
    if encoder_weights is not None:
        network.backbone = _trained(library.SwinBackbone, swin, encoder_weights)
    norms = "backbone.hidden_states_norms.stage"
    layers = {4: f"{norms}1", 8: f"{norms}2", 16: f"{norms}3", 32: f"{norms}4"}
    return freeze_unused(HookedSegmentor(network, layers, image_channels))


TRANSFORMERS = {"transformers.Segformer": segformer, "transformers.UperNet": upernet_swin}


def _config(kind: type, options: dict[str, Any], **ours: Any) -> Any:
    """Return a configuration; refuse options that it would keep without using them."""
    known = set(kind().to_dict())
    unknown = sorted(set(options) - known)
    if unknown:
        raise TypeError(f"{kind.__name__} has no argument {', '.join(unknown)}")
    return kind(**options, **ours)


def _trained(kind: Any, config: Any, folder: str) -> nn.Module:
    """Return a model with the weights of a local folder; never one of the hub's."""
    if not Path(folder).is_dir():
        raise ValueError(
            f"segmentor.options.encoder_weights is {folder}, but no such folder is there. Put "
            "config.json and model.safetensors of the model into it."
        )
    try:
        return kind.from_pretrained(
            folder, config=config, local_files_only=True, use_safetensors=True
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"segmentor.options.encoder_weights, {folder}, do not fit {kind.__name__}: {error}"
        ) from error
