"""What a data set is like, which a plan rests on: sizes, spacing, intensities, classes."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Num

from hidiff.datasets.case import Case
from hidiff.images.files import DataError, first_file
from hidiff.images.grid import Grid
from hidiff.images.pictures import read_mask, read_planes
from hidiff.images.volume import is_volume, read_any_volume, read_volume_mask

MOST_VOXELS = 20_000  # of one case, from which percentiles are taken
MOST_VALUES = 32  # more values than that in a mask: greys, not classes


@dataclass
class Fingerprint:
    """What was found; lists hold one entry a case."""

    cases: int = 0
    groups: int = 0
    volumes: bool = False
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
    def foreground_share(self) -> float:
        """Of pixels that are of any class."""
        return sum(share for value, share in self.values.items() if value)


def take_fingerprint(
    cases: Sequence[Case], done: Callable[[], object] = lambda: None
) -> Fingerprint:
    """Read every image and mask once; `done` is called after each.

    Raises DataError for the first that does not read, and for volumes among pictures.
    """
    if not cases:
        raise DataError("there is no case to look at. Check the data folder's path.")
    found = Fingerprint(
        cases=len(cases),
        groups=len({case.group for case in cases}),
        volumes=is_volume(cases[0].image),
    )
    counts: Counter[float] = Counter()
    samples, zeros = [], []
    for number, case in enumerate(cases):
        if is_volume(case.image) != found.volumes:
            raise DataError(
                f"{first_file(case.image)} and {first_file(cases[0].image)} are a volume and a "
                "picture. Keep them in two data sets."
            )
        image, mask = _read_volume(case, found) if found.volumes else _read_picture(case, found)
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


def _read_volume(case: Case, found: Fingerprint) -> tuple[np.ndarray, Num[np.ndarray, "x y z"]]:
    volume = read_any_volume(case.image)
    found.grids.append(volume.grid)
    (mask,) = _masks(case)
    return volume.values, read_volume_mask(mask, volume.grid, volume.path)


def _read_picture(case: Case, found: Fingerprint) -> tuple[np.ndarray, Num[np.ndarray, "h w"]]:
    files = case.image if isinstance(case.image, tuple) else (case.image,)
    planes = np.concatenate([read_planes(file) for file in files])
    mask = read_mask(_masks(case)[0])
    if mask.shape != planes.shape[1:]:
        came, wanted = ("x".join(map(str, size)) for size in (mask.shape, planes.shape[1:]))
        raise DataError(
            f"{_masks(case)[0]} is {came} (rows x columns), but its image {files[0]} is {wanted}. "
            "Check that they belong together, and resize one."
        )
    found.sizes.append((planes.shape[1], planes.shape[2]))
    return planes, mask


def _masks(case: Case) -> tuple[Path | str, ...]:
    if not case.masks:
        raise DataError(f"case {case.name} has no mask, but a plan rests on masks. Add it.")
    return case.masks[:1]
