"""Group norm whose sums stay accurate on large maps.

torch 2.13 adds the pixels of a channels-last map one after another into one float. On 576x576
pixels of a retina its normed values are off by up to 0.15, and differ with every other order of
adding; a 1-bit layer after it turns that into other signs.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

STRIP = 2**19  # floats; 2 MiB, which stays in the caches


class GroupNorm(nn.GroupNorm):
    """The group norm of torch; where nothing is trained, it is accurate on a processor.

    Maps are (b, c, h, w). At 576x576 normed values are off by about 2e-6. Training keeps torch's
    own kernels: its patches are small.
    """

    def forward(self, input: Tensor) -> Tensor:
        on_processor = input.device.type == "cpu" and not torch.is_grad_enabled()
        if not on_processor or input.is_contiguous():
            return super().forward(input)
        pixels = input.permute(0, 2, 3, 1)
        factor, shift = factor_and_shift(self, pixels)
        return torch.addcmul(shift, pixels, factor).permute(0, 3, 1, 2)


def factor_and_shift(
    norm: nn.GroupNorm, pixels: Float[Tensor, "b h w c"]
) -> tuple[Float[Tensor, "b 1 1 c"], Float[Tensor, "b 1 1 c"]]:
    """Return the norm of a map as factor and shift: x * factor + shift."""
    batch, height, width, channels = pixels.shape
    size = channels // norm.num_groups

    def of_groups(sums: Tensor) -> Tensor:
        means = sums.unflatten(1, (-1, size)).sum(dim=2) / (height * width * size)
        return means.repeat_interleave(size, dim=1)[:, None, None]

    mean = of_groups(pixels.sum(dim=(1, 2)))
    squares = pixels.new_zeros(batch, channels)
    for rows in strips(pixels.permute(0, 3, 1, 2)):
        squares += (pixels[:, rows] - mean).square_().sum(dim=(1, 2))
    factor = norm.weight * torch.rsqrt(of_groups(squares) + norm.eps)
    return factor, norm.bias - mean * factor


def strips(x: Float[Tensor, "b c h w"]) -> Iterator[slice]:
    """Yield the rows of each strip, from the top."""
    batch, channels, height, width = x.shape
    count = max(1, STRIP // (batch * channels * width))
    for first in range(0, height, count):
        yield slice(first, min(first + count, height))
