"""The planes of an item, and the rules that each of them follows.

An item is a bag of named planes that lie on top of each other: the image, its mask, a field of
view, ... To add one, write its rule into PLANES. Everything else takes names and rules from there:
reading, resizing, caches, augmentation, patches and batches.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Shaped
from torch import Tensor

from hidiff.datasets.case import Case
from hidiff.images import prior_files
from hidiff.loading.reading import CaseFiles, Reading, counts_some, most_raters, show_slice
from hidiff.loading.resize import resize_image, resize_nearest

# name: str; each plane a tensor: (p d h w) of a whole case, (p h w) of one slice or patch.
Item = dict[str, Any]


@dataclass(frozen=True)
class PlaneRule:
    """The rule by which one plane of an item is read, kept and changed."""

    count: Callable[[Case, Reading], int]
    """number of planes that a case has of it; 0 for a case without it"""
    read: Callable[[CaseFiles], Shaped[Tensor, "*p d h w"]]
    """reads it at the size of the files; asked of cases whose `count` is not 0"""
    files: Callable[[Case], Sequence[Path | str]] = lambda case: ()
    """files that it is read from, by which a cache knows that it has changed"""
    dtype: torch.dtype = torch.float32
    """type of number in caches; patches and batches are float32"""
    interpolation: Literal["bilinear", "nearest"] = "nearest"
    """the way it is resized, turned and zoomed"""
    beyond: Literal["edge", "zero"] = "zero"
    """values past the edge of the image: its edge repeated, or zeros"""
    past_lens: Literal["lowest", "zero", "kept"] = "kept"
    """values past the rim of a simulated lens: its own lowest value, zeros, or unchanged"""
    whole_view: bool = False
    """True if a case without it counts everywhere, as if it were 1 in every pixel"""
    with_neighbours: bool = False
    """True if neighbouring slices come with it as channels (2.5-D)"""
    in_patches: bool = True
    """True if it is cut into patches and put into batches"""
    feeds_segmentor: bool = False
    """True if the segmentor reads it behind the channels of the image"""

    def resize(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize rows and columns."""
        return (resize_image if self.interpolation == "bilinear" else resize_nearest)(values, size)


def _image_files(case: Case) -> Sequence[Path | str]:
    return case.image if isinstance(case.image, tuple) else (case.image,)


PLANES: dict[str, PlaneRule] = {
    "image": PlaneRule(
        count=lambda case, reading: reading.channels,
        read=lambda files: files.image,
        files=_image_files,
        interpolation="bilinear",
        beyond="edge",
        past_lens="lowest",
        with_neighbours=True,
    ),
    # Bits, one plane a class; of several raters those that most of them marked.
    "y0": PlaneRule(
        count=lambda case, reading: reading.labels.num_planes,
        read=lambda files: most_raters(files.raters, files.reading.labels),
        files=lambda case: case.masks,
        dtype=torch.bool,
        past_lens="zero",
    ),
    # The bits of every rater, where there are several; each draw of a patch shows one of them.
    "raters": PlaneRule(
        count=lambda case, reading: (
            len(case.masks) * reading.labels.num_planes if len(case.masks) > 1 else 0
        ),
        read=lambda files: files.raters,
        dtype=torch.bool,
        in_patches=False,
    ),
    # The pixels that count: losses and metrics leave out what no mask decides, too.
    "field_of_view": PlaneRule(
        count=lambda case, reading: int(counts_some(case, reading.labels)),
        read=lambda files: files.field_of_view,
        files=lambda case: () if case.field_of_view is None else (case.field_of_view,),
        dtype=torch.bool,
        whole_view=True,
    ),
    # Another model's probabilities (segmentor.name: files).
    "prior": PlaneRule(
        count=lambda case, reading: reading.labels.num_planes if reading.priors else 0,
        read=lambda files: files.prior,
        files=lambda case: prior_files(case.prior),
        interpolation="bilinear",
        beyond="edge",
        past_lens="lowest",
        feeds_segmentor=True,
    ),
}


def read_item(case: Case, reading: Reading, planes: Sequence[str] | None = None) -> Item:
    """Read the planes of a case, all of them or those named, with every slice.

    Values are as in caches: bits are booleans.
    """
    files = CaseFiles(case, reading)
    item: Item = {"name": case.name}
    for name, rule in PLANES.items():
        if (planes is None or name in planes) and rule.count(case, reading):
            item[name] = rule.read(files)
    size = reading.size_of(files.geometry)
    if size is None:
        return item
    return {
        name: PLANES[name].resize(value, size) if name in PLANES else value
        for name, value in item.items()
    }


def slice_item(item: Item, number: int, neighbours: int, name: str) -> Item:
    """Return one slice of a case's item, with what stands in for planes that the case lacks."""
    sliced: Item = {"name": name}
    for plane, rule in PLANES.items():
        if plane in item:
            values = item[plane]
            beside = neighbours if rule.with_neighbours else 0
            sliced[plane] = (
                show_slice(values, number, beside) if beside else values[..., number, :, :]
            )
        elif rule.whole_view:
            sliced[plane] = torch.ones((1, *item["image"].shape[-2:]), dtype=rule.dtype)
    return sliced


def in_floats(item: Item) -> Item:
    """Return an item with the planes of patches in float32; those that stay behind are kept."""
    return {
        name: value.float() if name in PLANES and PLANES[name].in_patches else value
        for name, value in item.items()
    }


def count_bytes(case: Case, reading: Reading) -> int:
    """Count the bytes that a case's item takes for each pixel or voxel."""
    return sum(rule.count(case, reading) * rule.dtype.itemsize for rule in PLANES.values())


def patch_planes() -> dict[str, PlaneRule]:
    """Return the rules of the planes that patches and batches hold."""
    return {name: rule for name, rule in PLANES.items() if rule.in_patches}


def segmentor_input(planes: Mapping[str, Any]) -> Shaped[Tensor, "b c h w"]:
    """Return the image of a batch, with the planes behind it that the segmentor reads too.

    The segmentor that stands for priors from files (segmentors.PriorFromFiles) takes the prior as
    the last planes of its input; here and nowhere else the two are put together.
    """
    fed = [planes[name] for name, rule in PLANES.items() if rule.feeds_segmentor and name in planes]
    return torch.cat([planes["image"], *fed], dim=1) if fed else planes["image"]
