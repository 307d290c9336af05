"""Segmentors by name. To add one, write a function and one line here."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hidiff.segmentors.hooks import HookedSegmentor
from hidiff.segmentors.monai_networks import unet

SEGMENTORS: dict[str, Callable[..., HookedSegmentor]] = {"unet": unet}


class SegmentorSettings(BaseModel):
    """Which segmentor, and where its weights come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="unet", description=f"one of: {', '.join(SEGMENTORS)}")
    options: dict[str, Any] = Field(
        default_factory=dict, description="arguments of the segmentor's function, e.g. width: 32"
    )
    weights: str | None = Field(
        default=None,
        description="trained weights (.safetensors, or .pt of plain tensors): stage 1 is skipped",
    )


def make_segmentor(
    settings: SegmentorSettings, image_channels: int, num_planes: int
) -> HookedSegmentor:
    """The named segmentor, untrained. Raises ValueError for an unknown name or option."""
    if settings.name not in SEGMENTORS:
        raise ValueError(
            f"segmentor.name is {settings.name!r}, but must be one of {', '.join(SEGMENTORS)}"
        )
    try:
        return SEGMENTORS[settings.name](image_channels, num_planes, **settings.options)
    except TypeError as error:
        raise ValueError(f"segmentor.options do not fit {settings.name}: {error}") from error
