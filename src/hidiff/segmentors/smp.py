"""Networks of segmentation-models-pytorch (extra `smp`); the options are its own arguments.

Their norm is the library's default, batch norm. The features are the encoder's, which all of these
networks have alike. Weights are never downloaded: `encoder_weights` is a file, or left out.
"""

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from hidiff import weights
from hidiff.extras import import_extra
from hidiff.segmentors.base import STRIDES
from hidiff.segmentors.hooks import HookedSegmentor
from hidiff.segmentors.timm_backbones import check_offline, check_taken
from hidiff.segmentors.unused import freeze_unused

ARCHITECTURES = ("Unet", "UnetPlusPlus", "FPN", "DeepLabV3Plus", "UPerNet", "Segformer")


def _maker(architecture: str) -> Callable[..., HookedSegmentor]:
    """Return the function that makes networks of an architecture."""

    def make(
        image_channels: int,
        num_planes: int,
        encoder_name: str = "resnet34",
        encoder_weights: str | None = None,
        **options: Any,
    ) -> HookedSegmentor:
        library = import_extra("segmentation_models_pytorch", "smp")
        network = getattr(library, architecture)
        check_offline(encoder_name)
        _check_options(network, encoder_name, options)
        tensors = None if encoder_weights is None else weights.load_foreign(encoder_weights)
        made = network(
            encoder_name=encoder_name,
            in_channels=image_channels,
            classes=num_planes,
            **_trained(encoder_name, tensors),
            **options,
        )
        if tensors is not None and encoder_name.startswith("tu-"):
            check_taken(made.encoder, tensors, str(encoder_weights))
        elif tensors is not None:
            _load_encoder(made.encoder, tensors, str(encoder_weights))
        strides = [stride for stride in STRIDES if stride <= made.encoder.output_stride]
        layers = dict.fromkeys(strides, "encoder")
        return freeze_unused(HookedSegmentor(made, layers, image_channels))

    make.__doc__ = (
        f"segmentation-models-pytorch's {architecture}, on any of its encoders or, as "
        "`tu-NAME`, of timm's. `encoder_weights` is a file of the encoder's weights."
    )
    return make


SMP = {f"smp.{architecture}": _maker(architecture) for architecture in ARCHITECTURES}


def _check_options(network: type[nn.Module], encoder_name: str, options: dict[str, Any]) -> None:
    """Refuse what the library would pass over in silence: only timm's encoders use the rest."""
    known = inspect.signature(network).parameters
    unknown = [name for name in options if name not in known]
    if unknown and not encoder_name.startswith("tu-"):
        raise TypeError(
            f"{network.__name__} has no argument {', '.join(unknown)}; it has {', '.join(known)}"
        )


def _trained(encoder_name: str, tensors: dict[str, Tensor] | None) -> dict[str, Any]:
    """Return the arguments that hand weights to an encoder: timm's encoders take them when made."""
    if tensors is None or not encoder_name.startswith("tu-"):
        return {"encoder_weights": None}
    return {"encoder_weights": True, "pretrained_cfg_overlay": {"state_dict": dict(tensors)}}


def _load_encoder(encoder: nn.Module, tensors: dict[str, Tensor], path: str) -> None:
    """Load weights of the encoder, or of its classifier, for images of any number of channels."""
    adapt = import_extra("timm.models", "smp").adapt_input_conv
    own = encoder.state_dict()
    for name, value in tensors.items():
        if name in own and value.ndim == 4 and value.shape[1] == 3 != own[name].shape[1]:
            tensors[name] = adapt(own[name].shape[1], value)
    try:
        encoder.load_state_dict(tensors)
    except (RuntimeError, KeyError) as error:
        raise ValueError(
            f"segmentor.options.encoder_weights, {path}, do not fit {type(encoder).__name__}: "
            f"{error}"
        ) from error
