"""The diffusion of a mask under normal noise, for comparison: forward, one step back, y0_hat.

A mask stands as a signal of -1 and 1, 2 * y0 - 1, and every pixel of every plane is a variable of
its own (DDPM, Ho et al., arXiv 2006.11239). alpha_bar is that of the Bernoulli diffusion, here the
share of the signal in the variance: yt is normal with mean sqrt(alpha_bar) * (2 * y0 - 1) and
variance 1 - alpha_bar. `y0` and `y0_hat` are bits and chances as ever; `yt` is any number.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from hidiff.diffusion.bernoulli import LOGIT_CLAMP

# Half the grain of the numbers in [0, 1) that are drawn: at 0 itself the noise would be infinite.
LEAST_UNIFORM = 2.0**-25


def normal(uniform: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Normal noise from `uniform` numbers in [0, 1), by the inverse of its distribution function.

    The same in, the same out, so that whatever shares its numbers shares its noise.
    """
    return torch.special.ndtri(uniform.clamp(min=LEAST_UNIFORM))


def signal(bits: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return bits or probabilities on the scale of yt, from -1 to 1."""
    return 2 * bits - 1


def q_sample(
    y0: Float[Tensor, "b k h w"],
    noise: Float[Tensor, "b k h w"],
    alpha_bar: Float[Tensor, "b 1 1 1"],
) -> Float[Tensor, "b k h w"]:
    """Return yt, given the clean mask and the `normal` noise."""
    return alpha_bar.sqrt() * signal(y0) + (1 - alpha_bar).sqrt() * noise


def step_back(
    yt: Float[Tensor, "b k h w"],
    y0_hat: Float[Tensor, "b k h w"],
    alpha_bar_t: Float[Tensor, "b 1 1 1"],
    alpha_bar_s: Float[Tensor, "b 1 1 1"],
    noise: Float[Tensor, "b k h w"],
    temperature: float = 1.0,
) -> Float[Tensor, "b k h w"]:
    """ys for a step 0 < s < t, with 2 * y0_hat - 1 put in for the signal (DDIM, arXiv 2010.02502).

    At temperature 1 it is a draw of the posterior, with `noise` new; at 0 the noise that yt holds
    is kept and no new one comes in. Whatever the temperature (DDIM's eta; above 1 it counts as 1),
    ys given y0 is as in the forward process if y0_hat is y0.
    """
    clean = signal(y0_hat)
    noise_in_yt = (yt - alpha_bar_t.sqrt() * clean) / (1 - alpha_bar_t).sqrt()
    posterior_variance = (1 - alpha_bar_s) / (1 - alpha_bar_t) * (1 - alpha_bar_t / alpha_bar_s)
    new = min(temperature, 1.0) ** 2 * posterior_variance
    # rounding can pass 0 by a hair, where the step forgets all
    kept = (1 - alpha_bar_s - new).clamp(min=0)
    return alpha_bar_s.sqrt() * clean + kept.sqrt() * noise_in_yt + new.sqrt() * noise


def gaussian_y0_logits(
    network_output: Float[Tensor, "b k h w"],
    yt: Float[Tensor, "b k h w"],
    prior: Float[Tensor, "b k h w"],
    alpha_bar_t: Float[Tensor, "b 1 1 1"],
) -> Float[Tensor, "b k h w"]:
    """Return the logits of y0_hat: the network's output plus the logits of the Bayes answer.

    The twin of `residual_y0_logits` in `bernoulli`. For a calibrated prior and independent pixels,
    the Bayes answer is the prior's logit plus the log-ratio of the two normal densities of yt.
    """
    evidence = 2 * alpha_bar_t.sqrt() / (1 - alpha_bar_t) * yt
    return torch.logit(prior, eps=LOGIT_CLAMP) + evidence + network_output
