"""Bits of a mask that are certain, because a person marked them, and how they are kept."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hidiff.diffusion.bernoulli import LOGIT_CLAMP


@dataclass(frozen=True)
class Evidence:
    """Bits of the clean mask that are certain."""

    known: Bool[Tensor, "b k h w"]
    """True where a bit is certain"""
    y0: Float[Tensor, "b k h w"]
    """the bits there, 0.0 or 1.0; what stands elsewhere is not read"""


def clamp_evidence(
    values: Float[Tensor, "b k h w"],
    evidence: Evidence | None,
    scale: Callable[[Tensor], Tensor] | None = None,
) -> Float[Tensor, "b k h w"]:
    """Return `values` with the certain bits in their places; without evidence, `values` itself.

    `scale` turns bits into what `values` are: nothing for bits and probabilities, `sure_logits` for
    logits. No gradient passes where a bit is certain.
    """
    if evidence is None:
        return values
    bits = evidence.y0.to(values.dtype)
    return torch.where(evidence.known, bits if scale is None else scale(bits), values)


def sure_logits(bits: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
    """Return the logits of a probability within LOGIT_CLAMP of each bit: 13.8 or -13.8."""
    return torch.logit(bits, eps=LOGIT_CLAMP)
