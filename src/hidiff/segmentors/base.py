"""What HiDiff asks of a segmentor: logits, and features at strides 4, 8, 16 and 32."""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

STRIDES = (4, 8, 16, 32)


class SegmentorOutput(NamedTuple):
    """One look of a segmentor at a batch of images (b, c, h, w)."""

    logits: Float[Tensor, "b k h w"]
    """before sigmoid or softmax, one plane a class"""
    features: tuple[Tensor, ...]
    """four feature maps (b, channels, h / stride, w / stride), strides 4, 8, 16, 32"""


@runtime_checkable
class Segmentor(Protocol):
    """Any nn.Module with these; `hooks.wrap` makes one of a module that lacks them."""

    image_channels: int
    num_planes: int
    feature_channels: tuple[int, ...]
    """channels of the four features"""

    def __call__(self, image: Tensor, /) -> SegmentorOutput: ...
