"""Windows whose prior is certain everywhere: they are not refined."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hidiff.hybrid import HybridSegmentor
from hidiff.prediction.settings import PredictionSettings

DEFAULT_BOUND = 0.001  # changes fewer than 1 label in 100,000, see research/speed/certain.py


def certain_windows(prior: Float[Tensor, "b k h w"], bound: float) -> Bool[Tensor, "b"]:
    """Return which windows are certain: each probability is less than `bound` from 0 or from 1.

    One pixel of one plane that is not makes its window uncertain.
    """
    return torch.minimum(prior, 1 - prior).amax(dim=(1, 2, 3)) < bound


def bound_of(
    settings: PredictionSettings, hybrid: HybridSegmentor, *, with_prior: bool, trace: bool = False
) -> float:
    """Return the bound under which windows of an image are certain; 0 refines every window.

    Left out of the settings, it is DEFAULT_BOUND where it was measured to change next to no label:
    where the refiner adds to the logits of the segmentor's own prior. A prior from files may come
    from a mask, whose certainty says nothing. The Dice rule reads small probabilities, and a trace
    shows every step, so both refine every window.
    """
    if settings.rule != "half" or trace:
        return 0.0
    if settings.certain is not None:
        return settings.certain
    return DEFAULT_BOUND if hybrid.adds_to_prior and not with_prior else 0.0
