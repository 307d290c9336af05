"""Sizes, spacings, intensities and classes of a data set, on which a plan rests."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Num

from hidiff.datasets.case import Case
from hidiff.images import DataError, Grid, Image, find_mixture, read_image, read_mask
from hidiff.images.voxels import Nan
from hidiff.inspection.mask_values import MaskValues
from hidiff.inspection.neighbours import Neighbours
from hidiff.inspection.places import Places
from hidiff.labels import Labels

MOST_VOXELS = 20_000  # of one case, from which percentiles are taken


@dataclass
class Fingerprint:
    """The properties of a data set; lists hold one entry per case."""

    cases: int = 0
    groups: int = 0
    channels: Counter[int] = field(default_factory=Counter)
    """channels -> cases"""
    types: Counter[str] = field(default_factory=Counter)
    """type of number -> cases"""
    grids: list[Grid] = field(default_factory=list)
    """grids of volumes"""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """rows and columns of pictures"""
    low: float = float("inf")
    high: float = float("-inf")
    foreground: tuple[float, float] = (0.0, 0.0)
    """the 0.5th and 99.5th percentile of the values under all masks (of the first channel)"""
    zero_share: float = 0.0
    """share of pixels that are 0 in every channel: a black surround"""
    values: dict[int, float] = field(default_factory=dict)
    """value of the masks -> share of all pixels that count, background included"""
    masks: MaskValues | None = None
    """all values of the masks, where they were read"""
    grey: bool = False
    """True if all channels of each image are the same, as in grey pictures saved in colour"""
    mirrored: tuple[int, int] | None = None
    """two values of pictures' masks that may be a left and a right one"""
    alike: str = ""
    """a warning that pictures with adjacent numbers look alike; empty if they do not"""

    @property
    def volumes(self) -> bool:
        """True if the images have grids, so that spacing and planes mean something."""
        return bool(self.grids)

    @property
    def foreground_share(self) -> float:
        """Share of the pixels that belong to any class."""
        return sum(share for value, share in self.values.items() if value)


def take_fingerprint(
    cases: Sequence[Case],
    done: Callable[[], object] = lambda: None,
    *,
    labels: Labels | None = None,
    ignore: tuple[int, ...] = (),
    nan: Nan = "refused",
) -> Fingerprint:
    """Read every image and mask once; `done` is called after each case.

    `labels` are the classes if they are known, `ignore` the mask values that do not count if they
    are not, and `nan` says what NaN in a volume's file means. Raises DataError for the first file
    that does not read, for a mask whose values are not declared, and for volumes among pictures.
    """
    if not cases:
        raise DataError("there is no case to look at. Check the data folder's path.")
    mixture = find_mixture(case.image for case in cases)
    if mixture is not None:
        raise DataError(
            f"{mixture[1]} and {mixture[0]} are a volume and a picture. Keep them in two data sets."
        )
    ignore = labels.ignore if labels else ignore
    found = Fingerprint(cases=len(cases), groups=len({case.group for case in cases}))
    found.masks, places, neighbours = MaskValues(), Places(), Neighbours()
    samples, zeros, grey = [], [], []
    for number, case in enumerate(cases):
        read = _read_image(case, nan)
        image = read.values
        if read.grid is None:
            found.sizes.append(read.geometry.size)
        else:
            found.grids.append(read.grid)
        found.channels[len(image)] += 1
        found.types[str(image.dtype)] += 1
        found.low, found.high = min(found.low, image.min()), max(found.high, image.max())
        zeros.append(float((image == 0).all(axis=0).mean()))
        grey.append(bool((image == image[:1]).all()))
        neighbours.add(case.name, image)
        masks = [_read_mask(Path(path), read, case, found.masks, labels) for path in case.masks]
        mask = np.where(np.isin(masks[0], ignore), 0, masks[0])
        if read.grid is None:
            places.add(mask)
        under = image[0][mask > 0]
        draws = np.random.default_rng(number)
        samples.append(under if len(under) <= MOST_VOXELS else draws.choice(under, MOST_VOXELS))
        done()
    under = np.concatenate(samples)
    if len(under):
        low, high = np.percentile(under, [0.5, 99.5]).tolist()
        found.foreground = (low, high)
    found.low, found.high = float(found.low), float(found.high)
    found.zero_share, found.grey = float(np.mean(zeros)), all(grey)
    counted = found.masks.without(ignore).pixels
    total = max(sum(counted.values()), 1)
    found.values = {int(value): count / total for value, count in sorted(counted.items())}
    found.mirrored, found.alike = places.mirrored_pair(), neighbours.sentence()
    return found


def _read_image(case: Case, nan: Nan) -> Image:
    """Read a case's image with the channels and type of number that it has."""
    if not case.masks:
        raise DataError(f"case {case.name} has no mask, but a plan rests on masks. Add it.")
    return read_image(case.image, None, nan=nan)


def _read_mask(
    path: Path, image: Image, case: Case, values: MaskValues, labels: Labels | None
) -> Num[np.ndarray, "d h w"]:
    """Read a mask and take its values in. Raises DataError for values that are not declared."""
    mask = read_mask(path, image.geometry, case.image)
    traits = values.add(path, mask)
    if labels is not None:
        try:
            labels.check(mask, lossy=traits.lossy)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from None
    return mask
