"""Segmentations of 3D Slicer (.seg.nrrd): layers of voxels, and segments with names.

https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html
Segments that overlap lie in several layers, each with label values of its own. Here they become
one volume of labels.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Num

from hidiff.images.files import DataError

ENDING = ".seg.nrrd"


class Segment(NamedTuple):
    """One segment as the header has it."""

    name: str
    layer: int
    value: int
    """its label in the layer"""


def read_segments(header: Mapping[str, Any]) -> list[Segment]:
    """Return the segments of a header in their order; none of a file that is no segmentation."""
    numbers = sorted(
        int(match.group(1)) for key in header if (match := re.fullmatch(r"Segment(\d+)_ID", key))
    )
    return [
        Segment(
            str(header.get(f"Segment{number}_Name") or header[f"Segment{number}_ID"]),
            int(header.get(f"Segment{number}_Layer") or 0),
            int(header.get(f"Segment{number}_LabelValue") or number + 1),
        )
        for number in numbers
    ]


def label_values(segments: list[Segment]) -> list[int]:
    """Return each segment's label in the volume: its own, or 1, 2, ... where two have the same."""
    values = [segment.value for segment in segments]
    return values if len(set(values)) == len(values) else list(range(1, len(values) + 1))


def join_layers(
    path: Path, layers: Num[np.ndarray, "l x y z"], segments: list[Segment]
) -> Num[np.ndarray, "1 x y z"]:
    """Return the segments of all layers as labels of one volume.

    Raises DataError for segments that overlap: one label a voxel cannot tell.
    """
    if not segments:
        return layers
    joined = np.zeros(layers.shape[1:], dtype=np.int32)
    names: dict[int, str] = {}
    for segment, value in zip(segments, label_values(segments), strict=True):
        if segment.layer >= len(layers):
            raise DataError(
                f"{path} has {len(layers)} layers, but its segment {segment.name} lies in layer "
                f"{segment.layer + 1}. Save it again from 3D Slicer."
            )
        inside = layers[segment.layer] == segment.value
        if joined[inside].any():
            other = names[int(joined[inside].max())]
            raise DataError(
                f"{path} has segments that overlap ({other} and {segment.name}), but one label a "
                "voxel is wanted. Export them from 3D Slicer as a label map, or save each in a "
                "file of its own."
            )
        joined[inside] = value
        names[value] = segment.name
    return joined[None]
