"""Windows whose prior is certain everywhere: they are not refined."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hidiff.prediction.settings import PredictionSettings


def certain_windows(prior: Float[Tensor, "b k h w"], bound: float) -> Bool[Tensor, "b"]:
    """Return which windows are certain: each probability is less than `bound` from 0 or from 1.

    One pixel of one plane that is not makes its window uncertain.
    """
    return torch.minimum(prior, 1 - prior).amax(dim=(1, 2, 3)) < bound


def bound_of(settings: PredictionSettings, *, trace: bool = False) -> float:
    """Return the bound under which windows of an image are certain; 0 refines every window.

    The Dice rule reads small probabilities, and a trace shows every step, so both refine all.
    """
    return 0.0 if settings.rule != "half" or trace else settings.certain
