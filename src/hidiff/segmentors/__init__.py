"""Segmentors: the trained networks whose masks are refined."""

from hidiff.segmentors.base import STRIDES, Segmentor, SegmentorOutput, input_size
from hidiff.segmentors.files import FILES, PriorFromFiles
from hidiff.segmentors.hooks import HookedSegmentor, wrap
from hidiff.segmentors.own import adopt, own_settings
from hidiff.segmentors.pretrained import load_pretrained
from hidiff.segmentors.registry import OWN, SEGMENTORS, SegmentorSettings, make_segmentor
from hidiff.segmentors.survey import propose_features

__all__ = [
    "FILES",
    "OWN",
    "SEGMENTORS",
    "STRIDES",
    "HookedSegmentor",
    "PriorFromFiles",
    "Segmentor",
    "SegmentorOutput",
    "SegmentorSettings",
    "adopt",
    "input_size",
    "load_pretrained",
    "make_segmentor",
    "own_settings",
    "propose_features",
    "wrap",
]
