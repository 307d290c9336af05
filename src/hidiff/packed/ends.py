"""The refiner's float ends: input and output convolution, a strip of rows at a time.

At full size a float tensor is larger than the caches, and new memory of that size costs as much as
the convolution. Strips stay in the caches, and write into memory that exists already.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

STRIP = 2**19  # floats; 2 MiB


def convolve(
    layer: nn.Conv2d, x: Float[Tensor, "b i h w"], out: Float[Tensor, "b o h w"]
) -> Float[Tensor, "b o h w"]:
    """Compute the 3x3 convolution into `out`."""
    padded = functional.pad(x, (0, 0, 1, 1)).contiguous(memory_format=torch.channels_last)
    for rows in _strips(out):
        part = padded[:, :, rows.start : rows.stop + 2]
        out[:, :, rows] = functional.conv2d(part, layer.weight, layer.bias, padding=(0, 1))
    return out


def read_out(
    norm: nn.GroupNorm, layer: nn.Conv2d, x: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b k h w"]:
    """Return layer(silu(norm(x))), where the layer is a 3x3 convolution to few channels.

    Few channels would fill few lanes of a vector. So a matrix product gives the nine products of
    each pixel first, and the shifted products are added afterwards.
    """
    pixels = x.permute(0, 2, 3, 1)
    batch, height, width, channels = pixels.shape
    factor, shift = _group_norm(norm, pixels)
    weight = layer.weight.permute(2, 3, 0, 1).reshape(-1, channels)  # (row, column, k), c
    planes = layer.out_channels
    # a plane for each product, with the border that the shifted products reach
    taps = x.new_zeros(9 * planes, batch, height + 2, width + 2)
    for rows in _strips(x):
        strip = torch.addcmul(shift, pixels[:, rows], factor)
        strip = functional.silu(strip, inplace=True).reshape(-1, channels)
        products = (weight @ strip.T).view(9 * planes, batch, -1, width)
        taps[:, :, rows.start + 1 : rows.stop + 1, 1:-1] = products
    taps = taps.view(3, 3, planes, batch, height + 2, width + 2)
    out = taps[0, 0, :, :, :height, :width].clone()
    for number in range(1, 9):
        i, j = divmod(number, 3)
        out += taps[i, j, :, :, i : i + height, j : j + width]
    if layer.bias is not None:
        out += layer.bias[:, None, None, None]
    return out.transpose(0, 1)


def _group_norm(
    norm: nn.GroupNorm, pixels: Float[Tensor, "b h w c"]
) -> tuple[Float[Tensor, "b 1 1 c"], Float[Tensor, "b 1 1 c"]]:
    """Return the norm as factor and shift: x * factor + shift."""
    batch, height, width, channels = pixels.shape
    size = channels // norm.num_groups

    def of_groups(sums: Tensor) -> Tensor:
        means = sums.unflatten(1, (-1, size)).sum(dim=2) / (height * width * size)
        return means.repeat_interleave(size, dim=1)[:, None, None]

    mean = of_groups(pixels.sum(dim=(1, 2)))
    squares = pixels.new_zeros(batch, channels)
    for rows in _strips(pixels.permute(0, 3, 1, 2)):
        squares += (pixels[:, rows] - mean).square_().sum(dim=(1, 2))
    factor = norm.weight * torch.rsqrt(of_groups(squares) + norm.eps)
    return factor, norm.bias - mean * factor


def _strips(x: Float[Tensor, "b c h w"]) -> Iterator[slice]:
    """Yield the rows of each strip, from the top."""
    batch, channels, height, width = x.shape
    count = max(1, STRIP // (batch * channels * width))
    for first in range(0, height, count):
        yield slice(first, min(first + count, height))
