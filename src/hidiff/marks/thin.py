"""The centre line of a mask."""

from itertools import count

import numpy as np
from jaxtyping import Bool

# The eight neighbours of a pixel, counter-clockwise from the east, as powers of 2.
NEIGHBOURS = np.array([[8, 4, 2], [16, 0, 1], [32, 64, 128]], dtype=np.int32)


def thin(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Return the mask thinned to lines one pixel wide, as connected as before.

    Guo and Hall, "Parallel thinning with two-subiteration algorithms", CACM 32(3), 1989. Rows and
    columns beyond the image count as empty.
    """
    from scipy import ndimage  # deferred: a prediction starts without SciPy

    lines = mask.copy()
    unchanged = 0
    for turn in count():
        around: np.ndarray = ndimage.correlate(lines.astype(np.int32), NEIGHBOURS, mode="constant")
        removed = lines & REMOVABLE[turn % 2][around]
        lines &= ~removed
        unchanged = 0 if removed.any() else unchanged + 1
        if unchanged == 2:
            break
    return lines


def _removable(second: bool) -> Bool[np.ndarray, "256"]:
    """Return, for each pattern of neighbours, whether the pixel among them is taken away."""
    patterns = np.arange(256)
    east, north_east, north, north_west, west, south_west, south, south_east = (
        (patterns >> bit & 1).astype(bool) for bit in range(8)
    )
    around = (east, north_east, north, north_west, west, south_west, south, south_east, east)
    crossings = sum(~around[i] & (around[i + 1] | around[i + 2]) for i in range(0, 8, 2))
    pairs = sum((around[i] | around[i + 1]).astype(int) for i in range(0, 8, 2))
    others = sum((around[i + 1] | around[i + 2]).astype(int) for i in range(0, 8, 2))
    fewest = np.minimum(pairs, others)
    if second:
        rim = (west & (south_west | south | ~north_west)) == 0
    else:
        rim = (east & (north_east | north | ~south_east)) == 0
    return (crossings == 1) & (fewest >= 2) & (fewest <= 3) & rim


REMOVABLE = (_removable(second=False), _removable(second=True))
