"""The refiner's losses. All terms are in nats, but soft Dice, which is in 0..1."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from hidiff.diffusion.bernoulli import (
    Noise,
    Reverse,
    Target,
    draw,
    flip_logits,
    flip_target,
    posterior,
    prior_noise,
    q_mean,
)
from hidiff.diffusion.evidence import Evidence, clamp_evidence, sure_logits
from hidiff.diffusion.gaussian import gaussian_y0_logits, normal, q_sample, signal
from hidiff.diffusion.schedule import Schedule

# In pixels, above and below the fraction: an empty plane predicted as empty costs nothing, and
# one stray pixel in it a half (0.1 of a pixel: 0.09), so that the gradient stays gentle.
DICE_SMOOTHING = 1.0


class LossWeights(BaseModel):
    """The weight of each term of the refiner loss; a term of weight 0 is not computed.

    The paper's (arXiv 2407.03548) is kl=1, focal=1 (its lambda), cross_entropy=0, soft_dice=0.
    The default differs because focal is no proper score: it pulls chances toward 0.5, which
    sampling turns into speckle. Cross-entropy keeps y0_hat calibrated, and soft Dice counters
    the loss of thin structures at a threshold of 0.5.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kl: float = Field(
        default=1.0,
        ge=0,
        description="KL of posterior to reverse, or likelihood at t=1; of diffusion.kind bernoulli "
        "alone.",
    )
    focal: float = Field(
        default=0.0,
        ge=0,
        description="Focal loss on flip, gamma 2; the paper's 1; of kind bernoulli alone.",
    )
    cross_entropy: float = Field(
        default=1.0, ge=0, description="Cross-entropy of y0_hat; the paper's 0."
    )
    soft_dice: float = Field(
        default=1.0, ge=0, description="Soft Dice loss of y0_hat; the paper's 0."
    )

    @model_validator(mode="after")
    def _one_term_counts(self) -> "LossWeights":
        if not any((self.kl, self.focal, self.cross_entropy, self.soft_dice)):
            raise ValueError("all loss weights are 0, so nothing would be learned. Raise one.")
        return self


def kl_bernoulli(
    p: Float[Tensor, "b k h w"], q: Float[Tensor, "b k h w"]
) -> Float[Tensor, "b k h w"]:
    """KL(Bernoulli(p) to Bernoulli(q)) of each bit, in nats; p and q in [0, 1].

    Each logarithm has a floor of half the float's epsilon (float32: 6e-8), the finest grain of
    1 - q, so that neither the value (at most 17 nats in float32) nor its gradient is infinite.
    """
    floor = torch.finfo(q.dtype).eps / 2
    on = p * (torch.log(p + floor) - torch.log(q + floor))
    off = (1 - p) * (torch.log(1 - p + floor) - torch.log(1 - q + floor))
    return on + off


def focal(
    flip_logits: Float[Tensor, "b k h w"], target: Float[Tensor, "b k h w"], gamma: float = 2.0
) -> Float[Tensor, "b k h w"]:
    """Focal loss of each bit in nats: (chance given to the wrong bit)^gamma * cross-entropy.

    The paper's second term, with `target` = abs(yt - y0) bits and gamma 2 (Lin et al., arXiv
    1708.02002, without its alpha).
    """
    wrong_logits = (1 - 2 * target) * flip_logits
    return torch.sigmoid(wrong_logits) ** gamma * softplus(wrong_logits)


def cross_entropy(
    y0_logits: Float[Tensor, "b k h w"], y0: Float[Tensor, "b k h w"]
) -> Float[Tensor, "b k h w"]:
    """Negative log-likelihood of each bit of y0 under y0_hat = sigmoid(y0_logits), in nats."""
    return binary_cross_entropy_with_logits(y0_logits, y0.to(y0_logits.dtype), reduction="none")


def soft_dice(
    y0_hat: Float[Tensor, "b k h w"],
    y0: Float[Tensor, "b k h w"],
    pixel_weight: Float[Tensor, "b 1 h w"] | None = None,
) -> Float[Tensor, ""]:
    """1 - Dice of the chances y0_hat and the bits y0, in 0..1.

    Dice over the pixels of each plane of each image, then the mean over planes and batch, so
    that small objects count like large ones.
    """
    weight = torch.ones_like(y0_hat[:, :1]) if pixel_weight is None else pixel_weight
    both = (weight * y0_hat * y0).sum(dim=(2, 3))
    either = (weight * (y0_hat + y0)).sum(dim=(2, 3))
    return 1 - ((2 * both + DICE_SMOOTHING) / (either + DICE_SMOOTHING)).mean()


def refiner_loss(
    network: Callable[[Tensor, Tensor], Tensor],
    y0: Float[Tensor, "b k h w"],
    prior: Float[Tensor, "b k h w"],
    t: Int[Tensor, " b"],
    schedule: Schedule,
    *,
    target: Target,
    reverse: Reverse,
    weights: LossWeights,
    uniform: Float[Tensor, "b k h w"],
    noise: Noise = prior_noise,
    pixel_weight: Float[Tensor, "b 1 h w"] | None = None,
    evidence: Evidence | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """Return one draw of the refiner's loss: a bound on the likelihood, and terms beside it.

    yt is drawn from the forward process with `uniform` in [0, 1), toward the `noise` that the
    prior makes (the paper's: itself), and `network(yt, t)` is called once (twice would move batch
    norm twice). `kl` is KL(posterior of y0 to `reverse` of y0_hat) from t to t - 1, and the
    negative log-likelihood of y0 in rows with t = 1. The gradient runs back through the network's
    output and through `prior`, in posterior and reverse alike: with a prior that isn't detached,
    it teaches the segmentor. Where there is `evidence`, yt and y0_hat are the certain bits, as they
    are in sampling, and nothing is learned there.

    Returns scalars: "loss" (the weighted sum), "kl", and each term whose weight isn't 0 under
    "focal", "cross_entropy", "soft_dice": nats a bit, a mean over batch, planes and pixels
    (weighted by `pixel_weight` >= 0, such as a field of view); soft Dice in 0..1.
    """
    alpha_bar_t, alpha_bar_s = schedule.at(t), schedule.at(t - 1)
    pure = noise(prior)
    yt = clamp_evidence(draw(q_mean(y0, pure, alpha_bar_t), uniform), evidence)
    y0_logits = target(network(yt, t), yt, prior, alpha_bar_t)
    y0_logits = clamp_evidence(y0_logits, evidence, sure_logits)
    y0_hat = torch.sigmoid(y0_logits)

    truth = posterior(yt, y0, pure, alpha_bar_t, alpha_bar_s)
    guess = reverse(yt, y0_hat, pure, alpha_bar_t, alpha_bar_s)
    likelihood = cross_entropy(y0_logits, y0)
    last = (t == 1)[:, None, None, None]
    terms = {"kl": _mean(torch.where(last, likelihood, kl_bernoulli(truth, guess)), pixel_weight)}
    if weights.focal:
        flips = focal(flip_logits(y0_logits, yt), flip_target(yt, y0))
        terms["focal"] = _mean(flips, pixel_weight)
    if weights.cross_entropy:
        terms["cross_entropy"] = _mean(likelihood, pixel_weight)
    if weights.soft_dice:
        terms["soft_dice"] = soft_dice(y0_hat, y0, pixel_weight)
    return _summed(terms, weights)


def gaussian_loss(
    network: Callable[[Tensor, Tensor], Tensor],
    y0: Float[Tensor, "b k h w"],
    prior: Float[Tensor, "b k h w"],
    t: Int[Tensor, " b"],
    schedule: Schedule,
    *,
    weights: LossWeights,
    uniform: Float[Tensor, "b k h w"],
    pixel_weight: Float[Tensor, "b 1 h w"] | None = None,
    evidence: Evidence | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """Return the losses of y0_hat for the diffusion under normal noise; see `refiner_loss`.

    There are no chances of bits to compare from step to step, so "kl" and "focal" do not count.
    Raises ValueError where no other term does.
    """
    if not (weights.cross_entropy or weights.soft_dice):
        raise ValueError(
            "the diffusion is gaussian, which has no kl and no focal, and training.loss gives "
            "cross_entropy and soft_dice no weight. Raise one of the two."
        )
    alpha_bar = schedule.at(t)
    yt = clamp_evidence(q_sample(y0, normal(uniform), alpha_bar), evidence, signal)
    y0_logits = gaussian_y0_logits(network(yt, t), yt, prior, alpha_bar)
    y0_logits = clamp_evidence(y0_logits, evidence, sure_logits)
    terms = {}
    if weights.cross_entropy:
        terms["cross_entropy"] = _mean(cross_entropy(y0_logits, y0), pixel_weight)
    if weights.soft_dice:
        terms["soft_dice"] = soft_dice(torch.sigmoid(y0_logits), y0, pixel_weight)
    return _summed(terms, weights)


def _summed(
    terms: dict[str, Float[Tensor, ""]], weights: LossWeights
) -> dict[str, Float[Tensor, ""]]:
    """Return the terms, and under "loss" their weighted sum."""
    counted = [getattr(weights, name) * term for name, term in terms.items()]
    return {"loss": torch.stack(counted).sum(), **terms}


def _mean(
    values: Float[Tensor, "b k h w"], pixel_weight: Float[Tensor, "b 1 h w"] | None
) -> Float[Tensor, ""]:
    if pixel_weight is None:
        return values.mean()
    # A batch wholly outside the field of view costs 0, not 0/0.
    total = (pixel_weight.sum() * values.shape[1]).clamp(min=torch.finfo(values.dtype).eps)
    return (values * pixel_weight).sum() / total
