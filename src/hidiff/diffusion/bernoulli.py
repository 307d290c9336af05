"""The diffusion of mask bits toward the prior: forward, posterior, and the two ways back.

Every pixel of every plane is a Bernoulli variable of its own (HiDiff, arXiv 2407.03548). Chances
lie in [0, 1]; `yt` and `y0` are bits 0.0 or 1.0 unless said otherwise. `alpha_bar_t` and
`alpha_bar_s` belong to steps t > s >= 0. Forward, posterior and ways back take for `prior` what
the noise is (see NOISES).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

# Nearer than this to 0 or 1 a prior's logit is cut off, and so is its gradient.
LOGIT_CLAMP = 1e-6

# prior -> chance that each bit of pure noise is 1
Noise = Callable[[Tensor], Tensor]
# (network_output, yt, prior, alpha_bar_t) -> y0_logits
Target = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
# (yt, y0_hat, prior, alpha_bar_t, alpha_bar_s) -> chance that each bit of ys is 1
Reverse = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def q_mean(
    y0: Float[Tensor, "b k h w"],
    prior: Float[Tensor, "b k h w"],
    alpha_bar: Float[Tensor, "b 1 1 1"],
) -> Float[Tensor, "b k h w"]:
    """Chance that each bit of yt is 1, given the clean mask: the paper's forward process.

    A straight line from the mask (alpha_bar=1) to the prior (alpha_bar=0). With ys for y0 and
    alpha_bar_t / alpha_bar_s for alpha_bar it is the chance of yt given ys.
    """
    return alpha_bar * y0 + (1 - alpha_bar) * prior


def posterior(
    yt: Float[Tensor, "b k h w"],
    y0: Float[Tensor, "b k h w"],
    prior: Float[Tensor, "b k h w"],
    alpha_bar_t: Float[Tensor, "b 1 1 1"],
    alpha_bar_s: Float[Tensor, "b 1 1 1"],
) -> Float[Tensor, "b k h w"]:
    """Chance that each bit of ys is 1, given yt and y0: the paper's posterior of the forward.

    Proportional to q(yt given ys) * q(ys given y0). A soft y0 in [0, 1] stands in q(ys given y0)
    as it is, which is the paper's reverse step and not the mixture over y0 (see `marginal`).

    Where yt cannot have come from y0 (it contradicts both y0 and a prior of exactly 0 or 1), the
    answer is the limit as the prior goes there. At s = 0 (alpha_bar_s = 1) it is y0 itself.
    Where alpha_bar_s is already 0, the prior. Values and gradients are finite everywhere.
    """
    # Everything as "differs from yt": one formula then serves yt = 0 and yt = 1.
    y0_differs, prior_differs = (yt - y0).abs(), (yt - prior).abs()
    prior_agrees = 1 - prior_differs
    ys_differs = q_mean(y0_differs, prior_differs, alpha_bar_s)  # before yt is seen
    # The share lost between s and t; the 0/0 of the branch not taken has no gradient to spoil.
    forgotten = torch.where(alpha_bar_s > 0, (alpha_bar_s - alpha_bar_t) / alpha_bar_s, 1)

    # prior_agrees / q(yt given y0). If y0 differs, the prior cancels, which is the limit. The
    # divisor of the branch not taken must be harmless, as its gradient is multiplied by 0.
    evidence = q_mean(1 - y0_differs, prior_agrees, alpha_bar_t)
    possible = evidence > 0
    limit = 1 / torch.where(alpha_bar_t < 1, 1 - alpha_bar_t, 1)
    surprise = torch.where(possible, prior_agrees / torch.where(possible, evidence, 1), limit)

    # Rounding can pass 1 by a hair.
    flipped = (forgotten * ys_differs * surprise).clamp(max=1)
    return torch.where(alpha_bar_s < 1, (yt - flipped).abs(), y0)


def plug_in(
    yt: Float[Tensor, "b k h w"],
    y0_hat: Float[Tensor, "b k h w"],
    prior: Float[Tensor, "b k h w"],
    alpha_bar_t: Float[Tensor, "b 1 1 1"],
    alpha_bar_s: Float[Tensor, "b 1 1 1"],
) -> Float[Tensor, "b k h w"]:
    """Chance that each bit of ys is 1: the posterior with the soft y0_hat put in for y0.

    The paper's reverse step. At s = 0 it is y0_hat itself.
    """
    return posterior(yt, y0_hat, prior, alpha_bar_t, alpha_bar_s)


def marginal(
    yt: Float[Tensor, "b k h w"],
    y0_hat: Float[Tensor, "b k h w"],
    prior: Float[Tensor, "b k h w"],
    alpha_bar_t: Float[Tensor, "b 1 1 1"],
    alpha_bar_s: Float[Tensor, "b 1 1 1"],
) -> Float[Tensor, "b k h w"]:
    """Chance that each bit of ys is 1: the posteriors of y0 = 1 and y0 = 0, mixed by y0_hat.

    Exact if y0_hat is the chance of y0 = 1 given yt. At s = 0 it is y0_hat itself.
    """
    ones, zeros = torch.ones_like(y0_hat), torch.zeros_like(y0_hat)
    given_one = posterior(yt, ones, prior, alpha_bar_t, alpha_bar_s)
    given_zero = posterior(yt, zeros, prior, alpha_bar_t, alpha_bar_s)
    return y0_hat * given_one + (1 - y0_hat) * given_zero


REVERSE: dict[str, Reverse] = {"plug_in": plug_in, "marginal": marginal}


def flip_y0_logits(
    network_output: Float[Tensor, "b k h w"],
    yt: Float[Tensor, "b k h w"],
    prior: Float[Tensor, "b k h w"],
    alpha_bar_t: Float[Tensor, "b 1 1 1"],
) -> Float[Tensor, "b k h w"]:
    """Logits of y0_hat, if the network says the logits of flip, the chance that yt differs.

    The paper's: y0_hat = abs(yt - flip). Prior and step enter through the network alone.
    """
    return (1 - 2 * yt) * network_output


def residual_y0_logits(
    network_output: Float[Tensor, "b k h w"],
    yt: Float[Tensor, "b k h w"],
    prior: Float[Tensor, "b k h w"],
    alpha_bar_t: Float[Tensor, "b 1 1 1"],
) -> Float[Tensor, "b k h w"]:
    """Return the logits of y0_hat: the network's output plus the logits of the Bayes answer.

    This target is ours, not the paper's. For a calibrated prior and independent pixels, the chance
    of y0 = 1 given yt is alpha_bar_t * yt + (1 - alpha_bar_t) * prior. So a network whose output
    is 0 samples the prior. The chance stays at least LOGIT_CLAMP away from 0 and 1; where it is
    clamped, no gradient passes.
    """
    return torch.logit(q_mean(yt, prior, alpha_bar_t), eps=LOGIT_CLAMP) + network_output


TARGETS: dict[str, Target] = {"flip": flip_y0_logits, "residual": residual_y0_logits}


def residual_of_uniform_y0_logits(
    network_output: Float[Tensor, "b k h w"],
    yt: Float[Tensor, "b k h w"],
    prior: Float[Tensor, "b k h w"],
    alpha_bar_t: Float[Tensor, "b 1 1 1"],
) -> Float[Tensor, "b k h w"]:
    """Return what `residual_y0_logits` does, for uniform noise, where yt does not hold the prior.

    The Bayes answer has the prior's logit, plus what yt says: the logarithm of
    (1 + alpha_bar) / (1 - alpha_bar) for or against y0 = 1.
    """
    evidence = (2 * yt - 1) * 2 * torch.atanh(alpha_bar_t)
    return torch.logit(prior, eps=LOGIT_CLAMP) + evidence + network_output


def prior_noise(prior: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
    """The paper's: pure noise is a draw of the prior."""
    return prior


def uniform_noise(prior: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
    """Pure noise is 0 or 1 with equal chances, whatever the prior."""
    return torch.full_like(prior, 0.5)


NOISES: dict[str, Noise] = {"prior": prior_noise, "uniform": uniform_noise}
# What the target `residual` is, by the noise.
RESIDUALS: dict[str, Target] = {
    "prior": residual_y0_logits,
    "uniform": residual_of_uniform_y0_logits,
}


def flip_logits(
    y0_logits: Float[Tensor, "b k h w"], yt: Float[Tensor, "b k h w"]
) -> Float[Tensor, "b k h w"]:
    """Logits of flip, the chance that yt differs from y0, from the logits of y0_hat."""
    return (1 - 2 * yt) * y0_logits


def flip_target(
    yt: Float[Tensor, "b k h w"], y0: Float[Tensor, "b k h w"]
) -> Float[Tensor, "b k h w"]:
    """1 where yt differs from y0, else 0: what flip should say."""
    return (yt - y0).abs()


def draw(
    p: Float[Tensor, "b k h w"], uniform: Float[Tensor, "b k h w"]
) -> Float[Tensor, "b k h w"]:
    """Bits that are 1 with chance p, from `uniform` numbers in [0, 1): the same in, the same out.

    No gradient passes.
    """
    return (uniform < p).to(p.dtype)
