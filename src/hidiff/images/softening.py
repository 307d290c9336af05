"""Hard masks as probabilities: doubt falls with the distance from the mask's edge."""

import math

import numpy as np
from jaxtyping import Bool, Float

from hidiff.images.mapped import make_room

SLAB = 2**24  # voxels that are looked at together


def soften_slices(
    bits: Bool[np.ndarray, "k d h w"], softness_px: float, least: float, exclusive: bool
) -> Float[np.ndarray, "k d h w"]:
    """Soften masks slice by slice, by distances in pixels.

    The edge runs between pixels: those beside it are half a pixel away. A slice that is all or
    nothing has no edge, and gets the least doubt everywhere. `exclusive` planes add up to 1.
    """
    softened = make_room(bits.shape)
    for depth in range(bits.shape[1]):
        planes = np.stack([_soften_slice(mask, softness_px) for mask in bits[:, depth]])
        planes = planes.clip(least, 1 - least)
        softened[:, depth] = planes / planes.sum(axis=0) if exclusive else planes
    return softened


def _soften_slice(mask: Bool[np.ndarray, "h w"], softness_px: float) -> Float[np.ndarray, "h w"]:
    if mask.all() or not mask.any():
        distance = np.where(mask, np.inf, -np.inf)
    else:
        # SciPy takes a while to import, and most models take no priors from files.
        from scipy.ndimage import distance_transform_edt

        inside = np.asarray(distance_transform_edt(mask))
        outside = np.asarray(distance_transform_edt(~mask))
        distance = np.where(mask, inside - 0.5, 0.5 - outside)
    return logistic(distance, softness_px)


def logistic(distance: np.ndarray, softness: float) -> np.ndarray:
    """Return the probability at a distance from the edge, positive inside."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-distance / softness))


def soften_volume(
    bits: Bool[np.ndarray, "k d h w"],
    spacing_mm: tuple[float, float, float],
    softness_mm: float,
    least: float,
    exclusive: bool,
) -> Float[np.ndarray, "k d h w"]:
    """Soften masks by distances in millimetres, in all three directions.

    The distance is that from the middle of a voxel to the nearest face of the mask. Only distances
    up to where the probability reaches `least` are measured, a few slices at a time, so the memory
    stays that of the result. `exclusive` planes add up to 1.
    """
    softened = make_room(bits.shape, np.float32)
    reach = softness_mm * math.log((1 - least) / least)
    for mask, plane in zip(bits, softened, strict=True):
        _soften_plane(mask, plane, spacing_mm, softness_mm, reach)
        np.clip(plane, least, 1 - least, out=plane)
    for depth in range(softened.shape[1] if exclusive else 0):
        softened[:, depth] /= softened[:, depth].sum(axis=0)
    return softened


def _soften_plane(
    mask: Bool[np.ndarray, "d h w"],
    plane: Float[np.ndarray, "d h w"],
    spacing_mm: tuple[float, float, float],
    softness_mm: float,
    reach: float,
) -> None:
    """Write the probabilities of one mask into a plane."""
    plane[...] = mask
    # an edge lies between a marked voxel and one that is not: look around the fewer of the two
    edges = mask if 2 * np.count_nonzero(mask) <= mask.size else ~mask
    halos = [math.floor(reach / side + 0.5) for side in spacing_mm]
    box = _box_of(edges, halos)
    if box is None:
        return
    first, last = box[0].start, box[0].stop
    depth = max(1, SLAB // max(1, edges[0, box[1], box[2]].size))
    for start in range(first, last, depth):
        stop = min(start + depth, last)
        low, high = max(start - halos[0], 0), min(stop + halos[0], len(mask))
        seen = mask[low:high, box[1], box[2]]
        distance = measure(seen, spacing_mm, reach)[start - low : stop - low]
        plane[start:stop, box[1], box[2]] = logistic(distance, softness_mm)


def _box_of(mask: Bool[np.ndarray, "d h w"], margins: list[int]) -> tuple[slice, ...] | None:
    """Return the box around a mask, widened by margins; None for an empty mask."""
    box = []
    for axis, margin in enumerate(margins):
        others = tuple(each for each in range(3) if each != axis)
        marked = np.flatnonzero(mask.any(axis=others))
        if not len(marked):
            return None
        # one voxel more, so that the box has both sides of every edge
        box.append(
            slice(
                max(int(marked[0]) - margin - 1, 0),
                min(int(marked[-1]) + margin + 2, mask.shape[axis]),
            )
        )
    return tuple(box)


def measure(
    mask: Bool[np.ndarray, "d h w"], spacing_mm: tuple[float, float, float], reach: float
) -> Float[np.ndarray, "d h w"]:
    """Return the distance in mm from each voxel to the mask's nearest face, positive inside.

    Distances above `reach` may be too large, or infinite.
    """
    inside = _to_nearest(~mask, spacing_mm, reach)
    outside = _to_nearest(mask, spacing_mm, reach)
    return np.where(mask, inside, -outside)


def _to_nearest(
    mask: Bool[np.ndarray, "d h w"], spacing_mm: tuple[float, float, float], reach: float
) -> Float[np.ndarray, "d h w"]:
    """Return the distance from the middle of each voxel to the nearest marked voxel's box.

    The square of the distance is a sum over the axes, so that each axis can be searched by itself:
    a voxel `k` steps away begins `k - 1/2` sides away.
    """
    squares = np.where(mask, np.float32(0), np.float32(np.inf))
    for axis, side in enumerate(spacing_mm):
        nearest = squares.copy()
        for steps in range(1, min(math.floor(reach / side + 0.5), mask.shape[axis] - 1) + 1):
            square = np.float32(((steps - 0.5) * side) ** 2)
            ahead, behind = _shifted(axis, steps), _shifted(axis, -steps)
            np.minimum(nearest[ahead], squares[behind] + square, out=nearest[ahead])
            np.minimum(nearest[behind], squares[ahead] + square, out=nearest[behind])
        squares = nearest
    return np.sqrt(squares)


def _shifted(axis: int, steps: int) -> tuple[slice, ...]:
    """Return all but the first `steps` places of an axis; the last for a negative number."""
    part = slice(steps, None) if steps > 0 else slice(None, steps)
    return tuple(part if each == axis else slice(None) for each in range(3))
