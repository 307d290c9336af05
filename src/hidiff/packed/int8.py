"""Convolutions in int8: whole numbers in, exact sums, floats out.

oneDNN does the work, by the operators that torch's own compiler calls for it.
"""

from collections.abc import Callable
from functools import cache, cached_property

import torch
from jaxtyping import Float, Int8, UInt8
from torch import Tensor, nn

MOST = 127  # the largest number of a weight; an image's numbers are 0 to 255
TINY = 1e-12  # the range of a tensor that is 0 everywhere
GEOMETRY = ([1, 1], [1, 1], [1, 1], 1)  # stride, padding, dilation, groups


class Int8Conv2d(nn.Module):
    """A padded 3x3 convolution whose weights and input are rounded to 8 bits.

    Each image has a range of its own, so that its output does not depend on the rest of the batch.
    The weights must not change once the layer has run. Raises ValueError if torch or the processor
    cannot do it.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        problem = int8_problem()
        if problem:
            raise ValueError(
                f"int8 is asked for, but {problem}. Pack the checkpoint with --condition-compute "
                "float32 for this machine."
            )
        assert conv.kernel_size == (3, 3) and conv.stride == (1, 1) and conv.padding == (1, 1)
        self.weight, self.bias = conv.weight, conv.bias

    @cached_property
    def _prepacked(self) -> tuple[Tensor, Float[Tensor, "o"]]:
        numbers, scale = to_int8(self.weight)
        return _prepack(numbers, scale), scale

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h w"]:
        weight, weight_scale = self._prepacked
        return torch.cat(
            [_convolve(*to_uint8(one), weight, weight_scale, self.bias) for one in x.split(1)]
        )


def to_int8(weight: Float[Tensor, "o *rest"]) -> tuple[Int8[Tensor, "o *rest"], Float[Tensor, "o"]]:
    """Return numbers from -127 to 127, and the scale of each output: about weight / scale."""
    scale = weight.abs().flatten(1).amax(dim=1).clamp(min=TINY) / MOST
    numbers = (weight / along_first(scale, weight)).round().to(torch.int8)
    return numbers, scale


def along_first(scale: Float[Tensor, "o"], weight: Tensor) -> Tensor:
    """Give the scale as many axes as the weight, along its first."""
    return scale.view(-1, *[1] * (weight.ndim - 1))


def to_uint8(x: Float[Tensor, "1 c h w"]) -> tuple[UInt8[Tensor, "1 c h w"], float, int]:
    """Return numbers n, scale and zero, with x about (n - zero) * scale and 0.0 exactly.

    The numbers are channels-last, as oneDNN wants them.
    """
    least, largest = min(x.amin().item(), 0.0), max(x.amax().item(), 0.0)
    # 254, not 255, leaves one number for the zero, which is rounded
    scale = max(largest - least, TINY) / 254
    zero = round(-least / scale)
    numbers = torch.add(x.new_tensor(zero + 0.5), x, alpha=1 / scale)  # 0.5, as it is cut
    return numbers.to(torch.uint8, memory_format=torch.channels_last), scale, zero


@cache
def int8_problem() -> str:
    """Return the reason why this machine cannot compute convolutions in int8, or nothing."""
    # The largest possible numbers: without VNNI, pairs of products are added in 16 bits, and
    # oneDNN cuts those sums off silently. With 32 channels a float holds the true sum.
    weight = torch.full((32, 32, 3, 3), MOST, dtype=torch.int8, device="cpu")
    x = torch.full((1, 32, 8, 8), 255, dtype=torch.uint8, device="cpu")
    one = torch.ones(32, device="cpu")
    try:
        sums = _convolve(x, 1.0, 0, _prepack(weight, one), one, None)
    except (AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        return f"torch {torch.__version__} has no such convolution here ({reason})"
    if sums.max() != 255 * MOST * 32 * 9:
        return "this processor has no instructions for it (VNNI), without which sums overflow"
    return ""


def _prepack(numbers: Int8[Tensor, "o i 3 3"], scale: Float[Tensor, "o"]) -> Tensor:
    """Put the weights into oneDNN's own order."""
    return torch.ops.onednn.qconv_prepack(numbers, scale, 1.0, 0, *GEOMETRY, None)


def _convolve(
    x: UInt8[Tensor, "1 i h w"],
    scale: float,
    zero: int,
    weight: Tensor,
    weight_scale: Float[Tensor, "o"],
    bias: Float[Tensor, "o"] | None,
) -> Float[Tensor, "1 o h w"]:
    weight_zero = torch.zeros(len(weight_scale), dtype=torch.int32, device="cpu")
    as_floats = (1.0, 0, torch.float32)  # the output's scale, zero and type
    return torch.ops.onednn.qconv2d_pointwise(
        *(x, scale, zero), *(weight, weight_scale, weight_zero), bias, *GEOMETRY, *as_floats,
        "none", [], "",
    )  # fmt: skip


COMPUTES: dict[str, Callable[[nn.Conv2d], nn.Module]] = {
    "float32": lambda conv: conv,
    "int8": Int8Conv2d,
}
"""ways to compute a float convolution of a packed model"""
