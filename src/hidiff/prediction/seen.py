"""Windows of an image with all work that depends on the image alone, kept to be used again."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hidiff.hybrid import HybridSegmentor
from hidiff.prediction.certain import certain_windows

WindowKey = tuple[str, int, int, int]
"""the image's name, the window's top and left in it, and the number of its mirrored copy"""


class Seen(NamedTuple):
    """Windows of an image, and the work on them that no mark and no draw changes."""

    image: Float[Tensor, "b c h w"]
    prior: Float[Tensor, "b k h w"]
    prepared: tuple[tuple[Tensor, ...], ...]
    """from `HybridSegmentor.prepare`; empty for windows that are not refined"""

    @property
    def num_bytes(self) -> int:
        """Memory that it takes."""
        tensors = [self.image, self.prior, *(each for part in self.prepared for each in part)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def one(self, number: int) -> "Seen":
        """Return a copy of one window."""

        def copy(values: Tensor) -> Tensor:
            return values[number : number + 1].clone()

        prepared = tuple(tuple(copy(each) for each in part) for part in self.prepared)
        return Seen(copy(self.image), copy(self.prior), prepared)


class Looked(NamedTuple):
    """Windows after the segmentor, and those of them that are to be refined."""

    image: Float[Tensor, "b c h w"]
    prior: Float[Tensor, "b k h w"]
    is_open: Bool[Tensor, "b"]
    """True for windows that are to be refined"""
    seen: Seen | None
    """the open windows alone; None if there is none"""

    def one(self, number: int) -> Seen:
        """Return a copy of one window, without the refiner's work if it is not open."""
        if self.seen is not None and self.is_open[number]:
            return self.seen.one(int(self.is_open[:number].sum()))
        return Seen(self.image, self.prior, ()).one(number)


def see(
    hybrid: HybridSegmentor,
    image: Float[Tensor, "b c h w"],
    prior: Float[Tensor, "b k h w"] | None = None,
    *,
    bound: float = 0.0,
    marked: Bool[Tensor, "b"] | None = None,
) -> Looked:
    """Run the segmentor, and the refiner's work on the image for windows that are to be refined.

    `prior` replaces the segmentor's. Windows that are certain (`certain_windows`) are not refined,
    unless they are `marked`.
    """
    look = hybrid.look(image)
    prior = look.prior if prior is None else prior
    is_open = ~certain_windows(prior, bound)
    if marked is not None:
        is_open |= marked.to(is_open.device)
    if is_open.all():
        return Looked(image, prior, is_open, Seen(image, prior, hybrid.prepare(image, look)))
    if not is_open.any():
        return Looked(image, prior, is_open, None)

    def choose(values: Tensor) -> Tensor:
        return values[is_open].contiguous(memory_format=torch.channels_last)

    part = look._replace(features=tuple(choose(feature) for feature in look.features))
    chosen = choose(image)
    seen = Seen(chosen, choose(prior), hybrid.prepare(chosen, part))
    return Looked(image, prior, is_open, seen)


def join_seen(windows: Sequence[Seen]) -> Seen:
    """Return windows as one batch."""
    if len(windows) == 1:
        return windows[0]
    parts = zip(*(window.prepared for window in windows), strict=True)
    return Seen(
        torch.cat([window.image for window in windows]),
        torch.cat([window.prior for window in windows]),
        tuple(tuple(torch.cat(each) for each in zip(*part, strict=True)) for part in parts),
    )


class SeenWindows:
    """The windows used last, as many as fit into `most_bytes`; the latest is always kept."""

    def __init__(self, most_bytes: int):
        self.most_bytes = most_bytes
        self.num_bytes = 0
        self._kept: OrderedDict[WindowKey, Seen] = OrderedDict()
        self._parts: dict[int, SeenWindows] = {}

    def part(self, number: int, count: int) -> "SeenWindows":
        """Return the windows of one of `count` models, which share the memory."""
        return self._parts.setdefault(number, SeenWindows(self.most_bytes // count))

    @property
    def is_full(self) -> bool:
        """True if one more window would drive another out."""
        return self.num_bytes + self.num_bytes / max(len(self._kept), 1) > self.most_bytes

    def copy(self) -> "SeenWindows":
        """Return the same windows, to which more can be added apart."""
        copied = SeenWindows(self.most_bytes)
        copied.take(self)
        return copied

    def take(self, other: "SeenWindows") -> None:
        """Take in the windows of another one."""
        for key, seen in other._kept.items():
            self.put(key, seen)
        for number, part in other._parts.items():
            self._parts.setdefault(number, SeenWindows(part.most_bytes)).take(part)

    def get(self, key: WindowKey) -> Seen | None:
        """Return a window, or None if it is not kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: WindowKey, seen: Seen) -> None:
        """Keep a window, and let go of those used longest ago if there is no room."""
        if key in self._kept:
            self.num_bytes -= self._kept.pop(key).num_bytes
        self._kept[key] = seen
        self.num_bytes += seen.num_bytes
        while self.num_bytes > self.most_bytes and len(self._kept) > 1:
            self.num_bytes -= self._kept.popitem(last=False)[1].num_bytes
