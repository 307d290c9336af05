"""Sizes, spacings, intensities and classes of a data set, on which a plan rests."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Num

from hidiff.datasets.case import Case
from hidiff.images import DataError, Grid, Image, find_mixture, read_image, read_mask

MOST_VOXELS = 20_000  # of one case, from which percentiles are taken
MOST_VALUES = 32  # more values than that in a mask: greys, not classes


@dataclass
class Fingerprint:
    """What was found; lists hold one entry a case."""

    cases: int = 0
    groups: int = 0
    channels: Counter[int] = field(default_factory=Counter)
    """channels -> cases"""
    types: Counter[str] = field(default_factory=Counter)
    """type of number -> cases"""
    grids: list[Grid] = field(default_factory=list)
    """of volumes"""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """rows and columns of pictures"""
    low: float = float("inf")
    high: float = float("-inf")
    foreground: tuple[float, float] = (0.0, 0.0)
    """the 0.5th and 99.5th percentile of the values under all masks (of the first channel)"""
    zero_share: float = 0.0
    """of pixels that are 0 in every channel: a black surround"""
    values: dict[int, float] = field(default_factory=dict)
    """of the masks -> their share of all pixels, background included"""

    @property
    def volumes(self) -> bool:
        """Whether the images lie on grids, so that spacing and planes mean something."""
        return bool(self.grids)

    @property
    def foreground_share(self) -> float:
        """Share of the pixels that belong to any class."""
        return sum(share for value, share in self.values.items() if value)


def take_fingerprint(
    cases: Sequence[Case], done: Callable[[], object] = lambda: None
) -> Fingerprint:
    """Read every image and mask once; `done` is called after each.

    Raises DataError for the first that does not read, and for volumes among pictures.
    """
    if not cases:
        raise DataError("there is no case to look at. Check the data folder's path.")
    mixture = find_mixture(case.image for case in cases)
    if mixture is not None:
        raise DataError(
            f"{mixture[1]} and {mixture[0]} are a volume and a picture. Keep them in two data sets."
        )
    found = Fingerprint(cases=len(cases), groups=len({case.group for case in cases}))
    counts: Counter[float] = Counter()
    samples, zeros = [], []
    for number, case in enumerate(cases):
        read, mask = _read(case)
        image = read.values
        if read.grid is None:
            found.sizes.append(read.geometry.size)
        else:
            found.grids.append(read.grid)
        found.channels[len(image)] += 1
        found.types[str(image.dtype)] += 1
        found.low, found.high = min(found.low, image.min()), max(found.high, image.max())
        zeros.append(float((image == 0).all(axis=0).mean()))
        values, sizes = np.unique(mask, return_counts=True)
        counts.update(dict(zip(values.tolist(), sizes.tolist(), strict=True)))
        under = image[0][mask > 0]
        draws = np.random.default_rng(number)
        samples.append(under if len(under) <= MOST_VOXELS else draws.choice(under, MOST_VOXELS))
        done()
    under = np.concatenate(samples)
    if len(under):
        low, high = np.percentile(under, [0.5, 99.5]).tolist()
        found.foreground = (low, high)
    found.low, found.high = float(found.low), float(found.high)
    found.zero_share = float(np.mean(zeros))
    total = sum(counts.values())
    found.values = {int(value): count / total for value, count in sorted(counts.items())}
    return found


def _read(case: Case) -> tuple[Image, Num[np.ndarray, "d h w"]]:
    """Read a case's image, with the channels and type of number that it has, and its first mask."""
    if not case.masks:
        raise DataError(f"case {case.name} has no mask, but a plan rests on masks. Add it.")
    # training refuses NaN unless the recipe says what it means; measuring does not depend on it
    image = read_image(case.image, None, nan="background")
    return image, read_mask(case.masks[0], image.geometry, case.image)
