"""Segmentors by name. To add one, write a function and one line here."""

from collections.abc import Callable
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field

from hidiff.segmentors.efficientnet_lite import efficientnet_lite0_fpn, efficientnet_lite0_unet
from hidiff.segmentors.files import FILES
from hidiff.segmentors.hooks import HookedSegmentor
from hidiff.segmentors.merit import merit
from hidiff.segmentors.monai_networks import MONAI
from hidiff.segmentors.nnunet import nnunet
from hidiff.segmentors.smp import SMP
from hidiff.segmentors.timm_backbones import timm_backbone
from hidiff.segmentors.transformers_models import TRANSFORMERS
from hidiff.segmentors.unet import unet

SEGMENTORS: dict[str, Callable[..., HookedSegmentor]] = {
    "unet": unet,
    "efficientnet_lite0_unet": efficientnet_lite0_unet,
    "efficientnet_lite0_fpn": efficientnet_lite0_fpn,
    "merit": merit,
    "nnunet": nnunet,
    **MONAI,
    **SMP,
    "timm": timm_backbone,
    **TRANSFORMERS,
}
STARTING_WEIGHTS = ("encoder_weights", "pretrained")  # options for what training starts from
OWN = "own"  # a user's module, which only Python can pass


class SegmentorSettings(BaseModel):
    """The segmentor, and the source of its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        default="unet",
        description=f"one of: {', '.join(SEGMENTORS)}; {OWN}: the module passed to hidiff.train; "
        f"{FILES}: another model's results (data.priors), with training.segmentor: frozen",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="arguments of the segmentor's function, such as width: 32"
    )
    weights: str | None = Field(
        default=None,
        description="trained weights (.safetensors, or .pt of plain tensors): stage 1 is skipped",
    )
    partial: bool = Field(
        default=False,
        description="load only the tensors of weights that fit, leave the others alone",
    )
    own_class: str | None = Field(
        default=None, description="the module's class, for name own; hidiff.train writes it"
    )

    def without_start(self) -> "SegmentorSettings":
        """Remove the weights to start from.

        A checkpoint brings all weights, and their file may be gone.
        """
        kept = {name: v for name, v in self.options.items() if name not in STARTING_WEIGHTS}
        return self.model_copy(update={"options": kept})


def make_segmentor(
    settings: SegmentorSettings, image_channels: int, num_planes: int
) -> HookedSegmentor:
    """Make the named segmentor, untrained. Raises ValueError for an unknown name or option."""
    if settings.name == OWN:
        raise ValueError(
            f"the segmentor is a module of your own, {settings.own_class or 'of any class'}. Pass "
            "one like it from Python: hidiff.load(path, segmentor=module), or "
            "hidiff.train(recipe, folder, segmentor=module)."
        )
    if settings.name not in SEGMENTORS:
        raise ValueError(
            f"segmentor.name is {settings.name!r}, but must be one of {', '.join(SEGMENTORS)}"
        )
    make, device = SEGMENTORS[settings.name], torch.get_default_device()
    try:
        with torch.device("cpu"):  # libraries read numbers off tensors, which on meta have none
            segmentor = make(image_channels, num_planes, **settings.options)
    except ValueError as error:
        raise ValueError(f"segmentor {settings.name}: {error}") from error
    except (TypeError, KeyError, IndexError, RuntimeError) as error:  # as each library refuses
        raise ValueError(f"segmentor.options do not fit {settings.name}: {error}") from error
    return segmentor.to(device)
