"""A user's own module in a recipe: what is written of it, and how it becomes a segmentor again."""

from typing import Any

from torch import nn

from hidiff.segmentors.base import Segmentor
from hidiff.segmentors.hooks import HookedSegmentor, wrap
from hidiff.segmentors.registry import OWN, SegmentorSettings


def own_settings(module: nn.Module, before: SegmentorSettings) -> SegmentorSettings:
    """Return a module's entry in a recipe: its class and its wrapping; weights as in `before`."""
    bare, options = module, {}
    if isinstance(module, HookedSegmentor):
        bare, options = module.network, _wrapping(module)
    kind = type(bare)
    return SegmentorSettings(
        name=OWN,
        options=options,
        weights=before.weights,
        partial=before.partial,
        own_class=f"{kind.__module__}.{kind.__qualname__}",
    )


def adopt(module: nn.Module, settings: SegmentorSettings, image_channels: int) -> nn.Module:
    """Return a module as a segmentor: itself if it is one, else wrapped as the settings say."""
    if isinstance(module, Segmentor):
        return module
    options = dict(settings.options) if settings.name == OWN else {}
    if "features" in options:  # JSON knows no names that are numbers
        options["features"] = {int(stride): name for stride, name in options["features"].items()}
    if "size" in options:
        options["size"] = tuple(options["size"])
    try:
        return wrap(module, image_channels=image_channels, **options)
    except TypeError as error:
        raise ValueError(f"segmentor.options do not fit hidiff.wrap: {error}") from error


def _wrapping(segmentor: HookedSegmentor) -> dict[str, Any]:
    """Return the arguments of `wrap`, as plain YAML holds them."""
    options: dict[str, Any] = {
        "features": {str(stride): name for stride, name in segmentor.features.items()}
    }
    if segmentor.logits is not None:
        options["logits"] = segmentor.logits
    if segmentor.input_size is not None:
        options["size"] = list(segmentor.input_size)
    return options
