"""Resize the last two axes of images and of masks, so that both stay on top of each other."""

import torch
from jaxtyping import Num, Shaped
from torch import Tensor
from torch.nn.functional import interpolate


def resize_image(
    image: Num[Tensor, "*lead h w"], size: tuple[int, int]
) -> Num[Tensor, "*lead H W"]:
    """Resize bilinearly, smoothed first where it shrinks; the same size comes back untouched."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    planes = image.reshape(1, -1, *image.shape[-2:])
    resized = interpolate(planes, size, mode="bilinear", antialias=True)
    return resized.reshape(*image.shape[:-2], *size)


def resize_nearest(
    values: Shaped[Tensor, "*lead h w"], size: tuple[int, int]
) -> Shaped[Tensor, "*lead H W"]:
    """Resize by taking the nearest pixel's value; the same size comes back untouched."""
    if tuple(values.shape[-2:]) == tuple(size):
        return values
    # nearest-exact takes the pixel that bilinear centres on; plain nearest is half a pixel off.
    planes = values.reshape(1, -1, *values.shape[-2:])
    numbers = planes.to(torch.uint8) if values.dtype == torch.bool else planes.float()
    resized = interpolate(numbers, size, mode="nearest-exact")
    return resized.reshape(*values.shape[:-2], *size).to(values.dtype)
