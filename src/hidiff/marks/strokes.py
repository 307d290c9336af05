"""Strokes as a hand would draw them over an error: lines, centre lines and contours.

They are broken and warped as in ScribblePrompt (Wong et al., arXiv 2312.07381, section 4): parts
are left out by thresholded smooth noise, and a smooth random field moves what is left.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from hidiff.marks.errors import depth
from hidiff.marks.footprint import line_footprint
from hidiff.marks.thin import thin

Draw = Callable[[Bool[np.ndarray, "h w"], np.random.Generator], Bool[np.ndarray, "h w"]]
SMOOTHING = (4.0, 16.0)  # pixels; ScribblePrompt's, of the noise that breaks and warps
WARP = (1.0, 6.0)  # pixels, the longest move of a warp; ScribblePrompt's
WIDEST = 0.5  # radius of the widest stroke, as a share of the depth of what it is drawn over
KEPT = 0.5  # share of a stroke that breaking leaves, on average; ScribblePrompt's


def draw_line(mask: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> Bool[np.ndarray, "h w"]:
    """Draw a straight line between two random pixels of a mask."""
    places = np.argwhere(mask)
    start, end = places[rng.integers(len(places), size=2)].astype(float)
    drawn = np.zeros_like(mask)
    found = line_footprint(tuple(start), tuple(end), 0.0, mask.shape, mask.shape)
    drawn[found.box] = found.mask
    return drawn


def draw_centre_line(
    mask: Bool[np.ndarray, "h w"], rng: np.random.Generator
) -> Bool[np.ndarray, "h w"]:
    """Draw the centre line of a mask."""
    return thin(mask)


def draw_contour(
    mask: Bool[np.ndarray, "h w"], rng: np.random.Generator
) -> Bool[np.ndarray, "h w"]:
    """Draw a line along the rim of a mask, at a random depth in its outer half."""
    from scipy import ndimage  # deferred: a prediction starts without SciPy

    depths = depth(mask)
    inner = depths > rng.uniform(0, 0.5) * depths.max()
    core = np.asarray(ndimage.binary_erosion(inner), dtype=bool)
    return inner & ~core


STROKES: dict[str, Draw] = {
    "line": draw_line,
    "centre_line": draw_centre_line,
    "contour": draw_contour,
}


def break_up(stroke: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> Bool[np.ndarray, "h w"]:
    """Leave out parts of a stroke; one that would be left out whole comes back as it was."""
    noise = smooth_noise(stroke.shape, rng)
    kept = stroke & (noise > np.quantile(noise, 1 - KEPT))
    return kept if kept.any() else stroke


def warp(stroke: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> Bool[np.ndarray, "h w"]:
    """Move the pixels of a stroke along a smooth random field; what leaves the image is lost.

    A stroke that would be lost whole comes back as it was.
    """
    from scipy import ndimage  # deferred: a prediction starts without SciPy

    longest = rng.uniform(*WARP)
    field = np.stack([smooth_noise(stroke.shape, rng) for _ in range(2)])
    field *= longest / max(np.abs(field).max(), 1e-9)
    places = np.indices(stroke.shape) + field
    # Only a line of a pixel falls through a grid that is moved, so it is widened first.
    wide = ndimage.binary_dilation(stroke).astype(np.float32)
    moved = ndimage.map_coordinates(wide, places, order=1, mode="constant") >= 0.5
    return moved if moved.any() else stroke


def smooth_noise(shape: tuple[int, ...], rng: np.random.Generator) -> Float[np.ndarray, "h w"]:
    """Return smooth random numbers of mean 0 and deviation 1, as Perlin noise would be."""
    from scipy import ndimage  # deferred: a prediction starts without SciPy

    noise = ndimage.gaussian_filter(rng.standard_normal(shape), rng.uniform(*SMOOTHING))
    return (noise - noise.mean()) / max(noise.std(), 1e-9)


def widen(stroke: Bool[np.ndarray, "h w"], radius: float) -> Bool[np.ndarray, "h w"]:
    """Return a stroke drawn with a round brush; radius 0 leaves it as it is."""
    from scipy import ndimage  # deferred: a prediction starts without SciPy

    if radius <= 0 or not stroke.any():
        return stroke
    return np.asarray(ndimage.distance_transform_edt(~stroke)) <= radius
