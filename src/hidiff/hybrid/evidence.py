"""A prior that knows what a person marked, or what else speaks for a class."""

import torch
from jaxtyping import Float
from torch import Tensor

from hidiff.diffusion import Evidence, clamp_evidence
from hidiff.diffusion.bernoulli import LOGIT_CLAMP
from hidiff.labels import Labels


def know(
    prior: Float[Tensor, "b k h w"], evidence: Evidence | None, labels: Labels
) -> Float[Tensor, "b k h w"]:
    """Return the prior given the evidence: exactly 0 or 1 where a bit is certain.

    Of exclusive classes the others share what is left in the prior's own proportions, so that the
    planes of a pixel still add up to 1: if the prior is 0.1, 0.6, 0.3 and the second class is
    ruled out, it becomes 0.25, 0, 0.75. Pixels without evidence keep their bits.
    """
    known = clamp_evidence(prior, evidence)
    if evidence is None or labels.kind != "exclusive":
        return known
    certain = evidence.known
    rest = prior.masked_fill(certain, 0)
    total, open_planes = rest.sum(dim=1, keepdim=True), ~certain
    # All that the prior believed in may be ruled out: then the open classes are equally likely.
    shares = torch.where(total > 0, rest, open_planes.to(prior.dtype))
    total = shares.sum(dim=1, keepdim=True).clamp(min=torch.finfo(prior.dtype).tiny)
    left = (1 - (known * certain).sum(dim=1, keepdim=True)).clamp(min=0)
    touched = certain.any(dim=1, keepdim=True)
    return torch.where(touched & open_planes, left * shares / total, known)


def believe(
    prior: Float[Tensor, "b k h w"], log_odds: Float[Tensor, "b k h w"], labels: Labels
) -> Float[Tensor, "b k h w"]:
    """Return the prior with log-odds added to those of each plane.

    Exclusive planes still add up to 1. Pixels whose log-odds are all 0 keep their bits, and so do
    probabilities of 0 and 1.
    """
    if labels.kind == "exclusive":
        weighted = prior * log_odds.exp()
        shifted = weighted / weighted.sum(dim=1, keepdim=True)
        touched = log_odds.ne(0).any(dim=1, keepdim=True)
        return torch.where(touched, shifted, prior)
    shifted = torch.sigmoid(torch.logit(prior, eps=LOGIT_CLAMP) + log_odds)
    return torch.where((log_odds == 0) | (prior <= 0) | (prior >= 1), prior, shifted)
