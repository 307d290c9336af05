"""The channels of another model's maps that make each mask plane of ours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num

from hidiff.images.files import DataError
from hidiff.images.label_names import Names, match_names
from hidiff.images.mapped import make_room
from hidiff.labels import Labels

ROUNDING = 1e-3  # how far beyond 0 or 1 a probability in half precision may lie


@dataclass(frozen=True)
class Channels:
    """The meaning of the channels of an array of probabilities."""

    values: tuple[tuple[int, ...], ...]
    """label values of each channel; (0,) is the background"""
    names: Names
    """label values of each class, where something names them"""
    are_regions: bool = False
    """True if channels overlap, as those of sigmoids do"""


def plain_channels(labels: Labels, count: int) -> Channels | None:
    """Return the meaning of `count` channels that nobody names; None for a number that fits not.

    They are planes in the order of the labels, with or without a background.
    """
    classes = tuple(labels.classes.values())
    regions = labels.kind == "regions"
    if count == len(classes):
        return Channels(classes, {}, regions)
    if count == len(classes) + 1 and not regions:
        return Channels(((0,), *classes), {})
    return None


def choose_channels(labels: Labels, channels: Channels, source: object) -> list[list[int]]:
    """Return the numbers of the channels whose sum is each class's probability.

    Classes are found by name where the file names them, else by their values. Raises DataError for
    a class that no channel holds.
    """
    named = match_names(labels, channels.names, source)
    if channels.are_regions and labels.kind == "exclusive":
        raise DataError(
            f"{source} holds overlapping regions, but labels.kind is exclusive. Set it to regions, "
            "with the regions of the other model."
        )
    chosen = []
    for name, values in labels.classes.items():
        wanted = set(channels.names[named[name]] if named else values)
        if channels.are_regions:
            found = [i for i, each in enumerate(channels.values) if set(each) == wanted]
        else:
            found = [i for i, each in enumerate(channels.values) if set(each) <= wanted]
            covered = {value for i in found for value in channels.values[i]}
            found = found if covered == wanted else []
        if not found:
            known = ", ".join(f"{key} {list(value)}" for key, value in channels.names.items())
            raise DataError(
                f"{source} has no channel for the class {name} with the values {sorted(wanted)}: "
                f"its channels are {known or [list(each) for each in channels.values]}. Name the "
                "classes alike, or set labels.classes to those values."
            )
        chosen.append(found)
    return chosen


def sum_planes(
    maps: Num[np.ndarray, "c d h w"], labels: Labels, channels: Channels, source: object
) -> Float[np.ndarray, "k d h w"]:
    """Return the probability of each mask plane, in float32, computed slice by slice.

    Raises DataError for values that are no probabilities.
    """
    chosen = choose_channels(labels, channels, source)
    has_background = labels.kind == "exclusive"
    planes = make_room((len(chosen) + has_background, *maps.shape[1:]))
    others = sorted(set(range(len(maps))) - {number for each in chosen for number in each})
    for depth in range(maps.shape[1]):
        part = np.asarray(maps[:, depth], dtype=np.float32)
        check_probabilities(part, source)
        part = part.clip(0, 1)
        found = [part[numbers].sum(axis=0) for numbers in chosen]
        if has_background:
            rest = (
                part[others].sum(axis=0) if (0,) in channels.values else 1 - np.sum(found, axis=0)
            )
            # older versions of nnU-Net write zeros in every channel outside of their crop
            found.insert(0, np.where(part.sum(axis=0) > 0, rest, np.float32(1)))
        planes[:, depth] = np.stack(found).clip(0, 1)
    return planes


def check_probabilities(values: np.ndarray, source: object) -> None:
    """Raise DataError unless all values lie between 0 and 1."""
    least, most = float(values.min()), float(values.max())
    if not (least >= -ROUNDING and most <= 1 + ROUNDING):  # false for NaN too
        whole = most > 1 and np.array_equal(values, np.rint(values))
        advice = (
            "It may be a label map: then set data.priors.kind to mask."
            if whole
            else "Of logits, write the softmax or sigmoid."
        )
        raise DataError(
            f"{source} holds values from {least:g} to {most:g}, but probabilities, 0 to 1, are "
            f"wanted. {advice}"
        )


def value_channels(names: Names, count: int) -> Channels:
    """Return channels in the order of the label values, as nnU-Net has those of a softmax."""
    values = sorted({value for each in names.values() for value in each})
    if not names or len(values) + 1 != count:
        values = list(range(1, count))
    return Channels(((0,), *((value,) for value in values)), names)


def region_channels(names: Names) -> Channels:
    """Return channels in the order of the regions, as nnU-Net has those of sigmoids."""
    return Channels(tuple(names.values()), names, are_regions=True)


def name_shape(shape: Sequence[int]) -> str:
    """Return 3x64x64 of (3, 64, 64)."""
    return "x".join(map(str, shape))
