"""Images that are in memory: arrays, tensors, pictures open in Pillow, and nibabel's images.

An array is a picture, (h, w) or (h, w, channels), unless its voxels have a place: with
`spacing_mm` it is a volume of slices, (d, h, w) or (d, h, w, channels); with `affine` a volume on
the axes of that matrix, as nibabel has them. Channels always come last, and none are made up.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Num, Shaped
from PIL import Image as Pillow

from hidiff.images.arrays import AFFINE
from hidiff.images.geometry import PictureGeometry, VolumeGeometry
from hidiff.images.grid import Grid, Plane
from hidiff.images.image import Image
from hidiff.images.pictures import read_open_picture
from hidiff.images.voxels import check_affine

COLOUR = 3


def image_of_picture(picture: Pillow.Image, channels: int) -> Image:
    """Return a picture that Pillow holds open, converted to grey or colour as its file would be."""
    values = read_open_picture(picture, channels)[:, None]
    stored = np.dtype(np.uint8 if picture.mode not in ("I", "F", "I;16") else np.float32)
    if picture.mode.startswith("I;16"):
        stored = np.dtype(np.uint16)
    return Image(values, PictureGeometry((values.shape[2], values.shape[3])), stored=stored)


def image_of_nibabel(image: Any, channels: int, plane: Plane = "axial") -> Image:
    """Return an image that nibabel has loaded, on its own grid."""
    return image_of_array(np.asanyarray(image.dataobj), channels, affine=image.affine, plane=plane)


def image_of_array(
    array: Any,
    channels: int,
    *,
    spacing_mm: Sequence[float | int] | None = None,
    affine: Num[np.ndarray, "4 4"] | None = None,
    plane: Plane = "axial",
) -> Image:
    """Return an array or a tensor as an image of that many channels.

    Raises ValueError for an array that does not fit.
    """
    values = _to_numbers(array)
    if spacing_mm is None and affine is None:
        planes = _picture_planes(values, channels)
        geometry = PictureGeometry((planes.shape[2], planes.shape[3]))
    else:
        planes = _volume_planes(values, channels)
        x, y, z = planes.shape[1:]
        geometry = VolumeGeometry(Grid((x, y, z), _affine_of(spacing_mm, affine)), plane)
        planes = geometry.from_native(planes)
    _check_finite(values)
    floats = np.ascontiguousarray(planes, dtype=np.float32)
    return Image(floats, geometry, stored=values.dtype)


def _to_numbers(array: Any) -> Shaped[np.ndarray, "..."]:
    if hasattr(array, "detach"):  # a tensor of torch
        array = array.detach().cpu()
        array = array.float() if array.is_floating_point() else array  # numpy has no bfloat16
    values = np.asarray(array)
    if values.dtype.kind not in "buif":
        raise ValueError(
            f"the image is an array of {values.dtype}, but whole numbers or floats are wanted. "
            "Convert it, as with image.astype(np.float32)."
        )
    return values


def _picture_planes(values: np.ndarray, channels: int) -> Shaped[np.ndarray, "c 1 h w"]:
    wanted = f"(height, width, {channels})" + (" or (height, width)" if channels == 1 else "")
    came = f"the image has the shape {values.shape}"
    if 0 in values.shape:
        raise ValueError(f"{came}, so it is empty, but {wanted} is wanted.")
    if values.ndim == 2:
        if channels != 1:
            raise ValueError(
                f"{came}, so it is grey, but the model was trained on {channels} channels, "
                f"{wanted}. Give it the image with all its channels, in the order of training; of "
                "a colour image that is grey itself: np.stack([image] * 3, axis=-1)."
            )
        values = values[:, :, None]
    if values.ndim != 3:
        raise ValueError(
            f"{came}, but {wanted} is wanted. Give several images as a list, predict(list(images))"
            "; of a volume say where its voxels lie: spacing_mm=(between slices, rows, columns)."
        )
    _check_channels(values, channels, wanted)
    return np.moveaxis(values, -1, 0)[:, None]


def _volume_planes(values: np.ndarray, channels: int) -> Shaped[np.ndarray, "c x y z"]:
    wanted = f"(slices, rows, columns, {channels})"
    wanted += " or (slices, rows, columns)" if channels == 1 else ""
    if values.ndim == 3 and channels == 1:
        values = values[..., None]
    if values.ndim != 4 or 0 in values.shape:
        raise ValueError(
            f"the volume has the shape {values.shape}, but {wanted} is wanted, or the axes of "
            "affine= in their place. Leave spacing_mm and affine out for a picture."
        )
    _check_channels(values, channels, wanted)
    return np.moveaxis(values, -1, 0)


def _check_channels(values: np.ndarray, channels: int, wanted: str) -> None:
    """Raise ValueError unless the last axis holds the channels."""
    came = values.shape[-1]
    if came == channels:
        return
    if values.shape[0] == channels:
        raise ValueError(
            f"the image has the shape {values.shape}: its channels come first, but {wanted} is "
            f"wanted, in this order. Turn it: np.moveaxis(image, 0, -1); of a tensor "
            f"image.movedim(0, -1)."
        )
    if came > 4 and values.ndim == 3:
        raise ValueError(
            f"the image has the shape {values.shape}, so {came} channels, but the model was "
            f"trained on {channels}: {wanted} is wanted, in this order. If it is a volume, slices "
            "first, say so: spacing_mm=(between slices, rows, columns)."
        )
    advice = "Leave alpha out: image[..., :3]." if came == COLOUR + 1 else (
        "Give it the same channels in the same order."
    )  # fmt: skip
    raise ValueError(
        f"the image has {came} channels, but the model was trained on {channels}. {advice}"
    )


def _affine_of(
    spacing_mm: Sequence[float | int] | None, affine: Num[np.ndarray, "4 4"] | None
) -> Float[np.ndarray, "4 4"]:
    if affine is not None:
        if spacing_mm is not None:
            raise ValueError("spacing_mm and affine both say where voxels lie: leave one out.")
        matrix = np.asarray(affine, dtype=np.float64)
        if matrix.shape != (4, 4):
            raise ValueError(
                f"affine has the shape {matrix.shape}, but (4, 4) is wanted: voxel to mm, as "
                "nibabel has it."
            )
        check_affine(Path("the array"), matrix)
        return matrix
    sides = np.asarray(spacing_mm, dtype=np.float64)
    if sides.shape != (3,) or not (np.isfinite(sides) & (sides > 0)).all():
        raise ValueError(
            f"spacing_mm is {spacing_mm}, but three lengths above 0 are wanted: between slices, "
            "rows and columns. Give (1, 1, 1) where nobody knows them."
        )
    return AFFINE @ np.diag([*sides, 1.0])


def _check_finite(values: np.ndarray) -> None:
    if values.dtype.kind != "f":
        return
    nan, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    if nan or infinite:
        raise ValueError(
            f"the image holds {nan} NaN and {infinite} infinite values of {values.size}. Replace "
            "them before prediction, as with np.nan_to_num(image)."
        )
