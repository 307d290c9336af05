"""Segmentors: the trained networks whose masks are refined."""

from hidiff.segmentors.base import STRIDES, Segmentor, SegmentorOutput
from hidiff.segmentors.hooks import HookedSegmentor, wrap
from hidiff.segmentors.registry import SEGMENTORS, SegmentorSettings, make_segmentor

__all__ = [
    "SEGMENTORS",
    "STRIDES",
    "HookedSegmentor",
    "Segmentor",
    "SegmentorOutput",
    "SegmentorSettings",
    "make_segmentor",
    "wrap",
]
