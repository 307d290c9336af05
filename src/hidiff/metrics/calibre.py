"""The width of a vessel at each of its pixels."""

from itertools import product

import numpy as np
from jaxtyping import Bool, Float

from hidiff.metrics.masks import pixel_sides

ROUNDING = 1e-9  # of a distance: what floats may be wrong by, far below what tells two apart


def local_width(
    mask: Bool[np.ndarray, "*space"], spacing: tuple[float, ...] | None = None
) -> Float[np.ndarray, "*space"]:
    """Return the width of the mask at each of its pixels, 0 outside.

    It is in mm if the spacing is known, else in pixels.

    The local thickness of Hildebrand and Ruegsegger (https://doi.org/10.1046/j.1365-2818.1997.
    1340694.x): the diameter of the largest ball that holds the pixel and lies in the mask. A ball
    reaches from its centre to the nearest pixel outside (beyond the image is outside), so that a
    line of 3 pixels has a radius of 2: the width is twice the radius less one pixel (its smallest
    side). Exact for odd numbers of pixels, one pixel too little for even ones.
    """
    # Prediction imports this package, measures nothing, and does without SciPy.
    from scipy.ndimage import distance_transform_edt

    sides = pixel_sides(mask.shape, spacing)
    padded = np.pad(mask, 1)
    radius = np.asarray(distance_transform_edt(padded, sampling=sides))
    largest = np.zeros_like(radius)
    flat, strides = largest.reshape(-1), np.array(largest.strides) // largest.itemsize
    centres = np.flatnonzero(padded & ~within_neighbour(radius, sides))
    radii, which = np.unique(radius.reshape(-1)[centres], return_inverse=True)
    # From the smallest ball to the largest, which is what stays.
    for number, each in enumerate(radii):
        of_this = centres[which == number]
        for offset in ball(float(each), sides) @ strides:
            flat[of_this + offset] = each
    inner = largest[tuple(slice(1, -1) for _ in sides)]
    return np.where(mask, 2 * inner - min(sides), 0.0)


def within_neighbour(
    radius: Float[np.ndarray, "*space"], sides: tuple[float, ...]
) -> Bool[np.ndarray, "*space"]:
    """Return pixels whose ball lies in a neighbour's: all but the middle ones need not be drawn.

    `radius` is 0 at the array's rim, so that rolling it round brings nothing in.
    """
    found = np.zeros(radius.shape, dtype=bool)
    for step in product((-1, 0, 1), repeat=len(sides)):
        if any(step):
            apart = float(np.linalg.norm(np.multiply(step, sides)))
            found |= radius + apart <= np.roll(radius, step, range(len(sides))) + ROUNDING
    return found


def ball(radius: float, sides: tuple[float, ...]) -> np.ndarray:
    """Return the steps from a pixel to all that are nearer than `radius`."""
    reaches = [np.arange(-(radius // side), radius // side + 1) for side in sides]
    steps = np.stack(np.meshgrid(*reaches, indexing="ij"), axis=-1).reshape(-1, len(sides))
    near = np.linalg.norm(steps * sides, axis=1) < radius - ROUNDING
    return steps[near].astype(int)
