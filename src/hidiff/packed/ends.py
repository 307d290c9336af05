"""The refiner's float ends: input and output convolution, a strip of rows at a time.

At full size a float tensor is larger than the caches, and new memory of that size costs as much as
the convolution. Strips stay in the caches, and write into memory that exists already.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hidiff.group_norm import factor_and_shift, strips


def convolve(
    layer: nn.Conv2d, x: Float[Tensor, "b i h w"], out: Float[Tensor, "b o h w"]
) -> Float[Tensor, "b o h w"]:
    """Compute the 3x3 convolution into `out`."""
    padded = functional.pad(x, (0, 0, 1, 1)).contiguous(memory_format=torch.channels_last)
    for rows in strips(out):
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
    factor, shift = factor_and_shift(norm, pixels)
    weight = layer.weight.permute(2, 3, 0, 1).reshape(-1, channels)  # (row, column, k), c
    planes = layer.out_channels
    # a plane for each product, with the border that the shifted products reach
    taps = x.new_zeros(9 * planes, batch, height + 2, width + 2)
    for rows in strips(x):
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
