"""Classes that may be a left and a right one, by their names and by where they lie."""

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Num

# Two classes are a pair if neither is larger than so many times the other, ...
MOST_LARGER = 2.0
# ... their middles lie at least so far apart on one axis, as shares of the image's side, ...
LEAST_APART = 0.1
# ... and mirror each other: as far from the image's middle, and level with each other, to this.
LEVEL = 0.12

_SIDED = re.compile(r"(?i:(?<![a-z])(?:left|right|lt|rt)(?![a-z]))|(?:(?<=[a-z])|^)(?:Left|Right)")


class Places:
    """The place of each value of the masks, as a share of the image, and its size."""

    def __init__(self) -> None:
        self._pixels: dict[int, list[float]] = defaultdict(list)
        self._middles: dict[int, list[tuple[float, float]]] = defaultdict(list)

    def add(self, mask: Num[np.ndarray, "d h w"]) -> None:
        """Take a mask in."""
        height, width = mask.shape[1:]
        for value in np.unique(mask).tolist():
            if value:
                _, rows, columns = np.nonzero(mask == value)
                middle = ((rows.mean() + 0.5) / height, (columns.mean() + 0.5) / width)
                self._middles[int(value)].append(middle)
                self._pixels[int(value)].append(len(rows) / mask.size)

    def mirrored_pair(self) -> tuple[int, int] | None:
        """Return two values that may be the left and the right one of a pair; None for none."""
        for first, second in combinations(sorted(self._pixels), 2):
            sizes = [float(np.mean(self._pixels[value])) for value in (first, second)]
            if max(sizes) > MOST_LARGER * min(sizes):
                continue
            left, right = (np.mean(self._middles[value], axis=0) for value in (first, second))
            apart, across = np.abs(left - right), np.abs(left + right - 1)
            for axis in (0, 1):
                far, other = apart[axis] >= LEAST_APART, 1 - axis
                if far and across[axis] <= 2 * LEVEL and apart[other] <= LEVEL:
                    return first, second
        return None


def sided_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of classes that are on one side of the body: "left kidney", "LungRight"."""
    plain = {re.sub(r"[-_. ]+", " ", name).strip().lower() for name in names}
    lettered = tuple(
        name
        for name in names
        for this, that in (("l", "r"), ("r", "l"))
        if _swapped(name, this, that) in plain
    )
    return tuple(dict.fromkeys([*(name for name in names if _SIDED.search(name)), *lettered]))


def _swapped(name: str, this: str, that: str) -> str:
    """Return a name with one side's letter in place of the other's; empty if it has none."""
    words = re.sub(r"[-_. ]+", " ", name).strip().lower().split(" ")
    return " ".join(that if word == this else word for word in words) if this in words else ""
