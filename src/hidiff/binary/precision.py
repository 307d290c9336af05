"""The way a layer sees its input and its weights: the one place where real and 1-bit differ."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from hidiff.binary.sign import above_threshold, centred_scaled_sign, scaled_sign, sign


def identity(x: Tensor) -> Tensor:
    """Return x unchanged."""
    return x


@dataclass(frozen=True)
class Precision:
    """The functions that stand between a layer and its numbers."""

    activation: Callable[[Tensor], Tensor]
    conv_weight: Callable[[Tensor], Tensor]
    linear_weight: Callable[[Tensor], Tensor]
    attention: Callable[[Tensor], Tensor]


REAL = Precision(identity, identity, identity, partial(torch.softmax, dim=-1))
BINARY = Precision(sign, scaled_sign, centred_scaled_sign, above_threshold)

PRECISIONS = {"binary": BINARY, "real": REAL}
