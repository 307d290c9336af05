"""Any feature maps of a network -> one at each of the strides 4, 8, 16 and 32."""

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional

from hidiff.segmentors.base import STRIDES


def choose_strides(available: list[int]) -> tuple[int, ...]:
    """Choose, for each of the strides 4..32, the available stride from which it is made.

    The same stride where there is one, else the nearest finer, else the nearest coarser.
    """
    if not available:
        raise ValueError("no features were named: name one layer at least, e.g. {4: 'decoder.2'}")
    return tuple(
        max((a for a in available if a <= stride), default=min(available)) for stride in STRIDES
    )


def to_pyramid(features: Mapping[int, Tensor], height: int, width: int) -> tuple[Tensor, ...]:
    """Turn features by stride into four maps of exactly (height / stride, width / stride).

    A missing stride is average-pooled from a finer map, or interpolated from a coarser one.
    """
    made = []
    for stride, source in zip(STRIDES, choose_strides(sorted(features)), strict=True):
        feature, size = features[source], (height // stride, width // stride)
        if feature.shape[-2:] == size:
            made.append(feature)
        elif feature.shape[-2:] == (height // source, width // source) and source < stride:
            made.append(functional.avg_pool2d(feature, stride // source))
        elif source < stride:
            made.append(functional.adaptive_avg_pool2d(feature, size))
        else:
            made.append(functional.interpolate(feature, size, mode="bilinear", align_corners=False))
    return tuple(made)
