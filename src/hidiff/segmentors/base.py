"""The interface of a segmentor: logits, and features at strides 4, 8, 16 and 32."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

STRIDES = (4, 8, 16, 32)


class SegmentorOutput(NamedTuple):
    """One look of a segmentor at a batch of images (b, c, h, w)."""

    logits: Float[Tensor, "b k h w"]
    """before sigmoid or softmax, one plane a class"""
    features: tuple[Tensor, ...]
    """four feature maps (b, channels, h / stride, w / stride), strides 4, 8, 16, 32; or none"""
    auxiliary: tuple[Tensor, ...] = ()
    """more logits of that shape, which a network trains with: its loss is the sum over all"""


class TrainedOn(NamedTuple):
    """The images that a trained segmentor has learned from; its attribute `trained_on`."""

    intensity: dict[str, Any]
    """settings of data.intensity"""
    spacing_mm: tuple[float, ...]
    """spacing of rows and columns"""


@runtime_checkable
class Segmentor(Protocol):
    """Any nn.Module with these members; `hooks.wrap` adds them to a module that lacks them.

    It may also have `input_size`, see the function of that name.
    """

    image_channels: int
    num_planes: int
    feature_channels: tuple[int, ...]
    """channels of the four features; empty for a segmentor without features"""

    def __call__(self, image: Tensor, /) -> SegmentorOutput: ...


def input_size(segmentor: object) -> tuple[int, int] | None:
    """Return the only (height, width) that a segmentor takes; None if it takes any."""
    return getattr(segmentor, "input_size", None)
