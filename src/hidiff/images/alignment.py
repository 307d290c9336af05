"""Lays one volume on the grid of another: axes are turned, without loss; nothing is resampled."""

import numpy as np

from hidiff.images.files import DataError, first_file
from hidiff.images.geometry import VolumeGeometry
from hidiff.images.grid import Grid, same_place, turn_axes, voxels_apart
from hidiff.images.image import Image


def lay_on(image: Image, geometry: VolumeGeometry, other: object) -> Image:
    """Return a volume on the grid of another, whose file is `other`.

    The axes of the two files may have any order and direction. Raises DataError for voxels that
    lie elsewhere.
    """
    grid, wanted = image.grid, geometry.grid
    assert grid is not None
    values, turned = turn_axes(image.geometry.native(image.values), grid, wanted)
    if not same_place(turned, wanted):
        name = first_file(image.path or "the volume")
        raise DataError(
            f"{name} lies on another grid than {other}: {describe_difference(grid, wanted)}. "
            "Resample one onto the other's grid (masks by nearest neighbour)."
        )
    return Image(geometry.from_native(values), geometry, image.path)


def pad_onto(image: Image, geometry: VolumeGeometry) -> Image:
    """Return a volume that lies in a box of another's grid, with zeros around the box.

    One that lies elsewhere, or between the voxels, comes back as it is. What sticks out of the
    grid is cut off, if it is 0.
    """
    grid, wanted = image.grid, geometry.grid
    assert grid is not None
    values, turned = turn_axes(image.geometry.native(image.values), grid, wanted)
    first = np.rint((np.linalg.inv(wanted.affine) @ turned.affine[:, 3])[:3])
    if not (np.abs(first) < 2**31).all():
        return image
    offset = np.eye(4)
    offset[:3, 3] = -first
    if not same_place(Grid(wanted.shape, turned.affine @ offset), wanted):
        return image
    padded = np.zeros((len(values), *wanted.shape), values.dtype)
    into, out_of = [slice(None)], [slice(None)]
    for start, count, most in zip(first.astype(int), turned.shape, wanted.shape, strict=True):
        low, high = max(start, 0), min(start + count, most)
        into.append(slice(low, max(high, low)))
        out_of.append(slice(low - start, max(high, low) - start))
    padded[tuple(into)] = values[tuple(out_of)]
    if np.count_nonzero(padded) != np.count_nonzero(values):
        return image
    return Image(geometry.from_native(padded), geometry, image.path)


def compare_axes(grid: Grid, wanted: Grid) -> tuple[str, ...]:
    """Return a remark where a volume has to be turned to lie on another's grid."""
    turned = grid.shape != wanted.shape or not same_place(grid, wanted)
    if not turned or not same_place(
        turn_axes(np.broadcast_to(False, grid.shape), grid, wanted)[1], wanted
    ):
        return ()
    return (f"the axes {grid.axes} are turned to those of the image, {wanted.axes}",)


def describe_difference(grid: Grid, wanted: Grid) -> str:
    """Return what keeps a grid from lying on another, once its axes are turned alike."""
    _, turned = turn_axes(np.broadcast_to(False, grid.shape), grid, wanted)
    axes = "" if grid.axes == wanted.axes else f" (axes {grid.axes} against {wanted.axes})"
    if turned.shape != wanted.shape:
        came, needed = ("x".join(map(str, each.shape)) for each in (grid, wanted))
        return f"{came} against {needed} voxels{axes}"
    pairs = {
        "spacing (mm)": (turned.spacing_mm, wanted.spacing_mm),
        "origin (mm)": (turned.affine[:3, 3], wanted.affine[:3, 3]),
        "directions": tuple(
            (each.affine[:3, :3] / each.spacing_mm).T.ravel() for each in (turned, wanted)
        ),
    }
    differences = [
        f"{name} {_differing(np.asarray(came), np.asarray(needed))}"
        for name, (came, needed) in pairs.items()
        if not np.allclose(came, needed, rtol=1e-6, atol=1e-6)
    ]
    voxels = voxels_apart(turned, wanted)
    units = [remark for each in (grid, wanted) for remark in each.remarks if "lengths" in remark]
    return "; ".join(
        [f"voxels are up to {voxels:.3g} voxels apart{axes}", *differences, *dict.fromkeys(units)]
    )


def _differing(came: np.ndarray, needed: np.ndarray) -> str:
    """Return both lists of numbers with as many digits as it takes to see them differ."""
    for digits in range(4, 17):
        words = [
            ", ".join(f"{number + 0.0:.{digits}g}" for number in np.round(each, 12))
            for each in (came, needed)
        ]
        unlike = ~np.isclose(came, needed, rtol=1e-6, atol=1e-6)
        left, right = ([*text.split(", ")] for text in words)
        if all(a != b for a, b, odd in zip(left, right, unlike, strict=True) if odd):
            break
    return f"({words[0]}) against ({words[1]})"
