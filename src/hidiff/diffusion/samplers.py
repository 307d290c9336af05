"""From a draw of noise, the prior's or normal, back to a mask, step by step.

Samplers are generators: each `Step` comes as soon as it is known, and the sample is the `y0_hat`
of the last one. Gradients are the caller's choice (wrap in `torch.no_grad` for prediction).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hidiff.diffusion.bernoulli import LOGIT_CLAMP, Reverse, draw, plug_in
from hidiff.diffusion.evidence import Evidence, clamp_evidence
from hidiff.diffusion.gaussian import normal, signal, step_back
from hidiff.diffusion.schedule import Schedule, subset

# (yt b k h w, t b) -> y0_hat b k h w: the chance, in [0, 1], that each bit of y0 is 1
PredictY0 = Callable[[Float[Tensor, "b k h w"], Int[Tensor, " b"]], Float[Tensor, "b k h w"]]
# t -> numbers in [0, 1) of the prior's shape, with which yt is drawn
Uniform = Callable[[int], Tensor]


class Step(NamedTuple):
    """One call of the refiner: what it saw at step t, and what it said of y0."""

    t: int
    yt: Float[Tensor, "b k h w"]
    y0_hat: Float[Tensor, "b k h w"]


def sample_ancestral(
    predict_y0: PredictY0,
    prior: Float[Tensor, "b k h w"],
    schedule: Schedule,
    steps: Sequence[int],
    uniform: Uniform,
    reverse: Reverse = plug_in,
    evidence: Evidence | None = None,
) -> Iterator[Step]:
    """Draw yT from the prior, then every ys from `reverse`; the paper's sampler with `plug_in`.

    `steps` are original t in 1..T that hold T, as `subset` gives them; each is followed by the
    next lower, and `predict_y0` is told the original t. `uniform(t)` is asked once for each t
    in `steps`, for the draw of yt: uniform(T) draws yT. After the last step nothing is drawn.
    Where there is evidence, every yt and y0_hat is the certain bit; draws elsewhere stay the same.
    """

    def first(t: int) -> Tensor:
        return clamp_evidence(draw(prior, uniform(t).to(prior.device)), evidence)

    def back(yt: Tensor, y0_hat: Tensor, alpha_bar_t: Tensor, alpha_bar_s: Tensor, s: int):
        ys_mean = reverse(yt, y0_hat, prior, alpha_bar_t, alpha_bar_s)
        return clamp_evidence(draw(ys_mean, uniform(s).to(prior.device)), evidence)

    return _walk(predict_y0, schedule, steps, first, back, evidence)


def _walk(
    predict_y0: PredictY0,
    schedule: Schedule,
    steps: Sequence[int],
    first: Callable[[int], Tensor],
    back: Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor],
    evidence: Evidence | None,
) -> Iterator[Step]:
    """Walk from yT to y0.

    `first(t)` draws yT; `back(yt, y0_hat, alpha_bar_t, alpha_bar_s, s)` draws every ys.
    """
    steps = subset(schedule.num_steps, steps)
    yt = first(steps[0])
    for t, s in pairwise([*steps, 0]):
        y0_hat = predict_y0(yt, torch.full((len(yt),), t, device=yt.device))
        y0_hat = clamp_evidence(y0_hat, evidence)
        yield Step(t, yt, y0_hat)
        if s == 0:
            return
        # Looked up on the CPU, where the range check doesn't wait for the device.
        alpha_bar_t, alpha_bar_s = (
            schedule.at(torch.full((len(yt),), step)).to(yt.device) for step in (t, s)
        )
        yt = back(yt, y0_hat, alpha_bar_t, alpha_bar_s, s)


def ddim_mean(
    yt: Float[Tensor, "b k h w"],
    y0_hat: Float[Tensor, "b k h w"],
    prior: Float[Tensor, "b k h w"],
    alpha_bar_t: Float[Tensor, "b 1 1 1"],
    alpha_bar_s: Float[Tensor, "b 1 1 1"],
) -> Float[Tensor, "b k h w"]:
    """Chance that each bit of ys is 1: yt with weight sigma, y0_hat with the rest.

    sigma = (1 - alpha_bar_s) / (1 - alpha_bar_t) keeps the chance of ys given y0 that of the
    forward process (Song et al., arXiv 2010.02502, on discrete states). The prior enters
    through yt alone. At s = 0 it is y0_hat itself.
    """
    sigma = (1 - alpha_bar_s) / (1 - alpha_bar_t)
    return sigma * yt + (alpha_bar_s - sigma * alpha_bar_t) * y0_hat


def sample_gaussian(
    predict_y0: PredictY0,
    prior: Float[Tensor, "b k h w"],
    schedule: Schedule,
    steps: Sequence[int],
    uniform: Uniform,
    temperature: float = 1.0,
    evidence: Evidence | None = None,
) -> Iterator[Step]:
    """Sample as `sample_ancestral` does, under normal noise (see `step_back`).

    At temperature 0 chance is left to yT alone (DDIM), at 1 to every step. Only the prior's shape
    is read. The yt of a `Step` is on the mask's own scale, where 0 and 1 are clean.
    """

    def noise(t: int) -> Tensor:
        # before it moves, so that every device sees the same noise
        return normal(uniform(t)).to(prior.device)

    def first(t: int) -> Tensor:
        return clamp_evidence(noise(t), evidence, signal)

    def back(yt: Tensor, y0_hat: Tensor, alpha_bar_t: Tensor, alpha_bar_s: Tensor, s: int):
        ys = step_back(yt, y0_hat, alpha_bar_t, alpha_bar_s, noise(s), temperature)
        return clamp_evidence(ys, evidence, signal)

    for step in _walk(predict_y0, schedule, steps, first, back, evidence):
        yield step._replace(yt=(step.yt + 1) / 2)


@dataclass(frozen=True)
class Sampler:
    """A way from noise back to a mask."""

    reverse: Reverse | None
    """chance that each bit of ys is 1; None: as the setting diffusion.reverse chooses"""
    gaussian_eta: float
    """share of fresh noise in each step under normal noise: DDIM's eta"""

    def __call__(
        self,
        predict_y0: PredictY0,
        prior: Float[Tensor, "b k h w"],
        schedule: Schedule,
        steps: Sequence[int],
        uniform: Uniform,
        reverse: Reverse = plug_in,
        evidence: Evidence | None = None,
    ) -> Iterator[Step]:
        """Sample as `sample_ancestral` does, with this sampler's own reverse if it has one."""
        chosen = self.reverse or reverse
        return sample_ancestral(predict_y0, prior, schedule, steps, uniform, chosen, evidence)


# To add a sampler, add a line; settings and commands take the names from here.
SAMPLERS = {
    "ancestral": Sampler(reverse=None, gaussian_eta=1.0),
    "ddim": Sampler(reverse=ddim_mean, gaussian_eta=0.0),
}


def draws_from(generator: torch.Generator, shape: Sequence[int]) -> Uniform:
    """Return a `uniform` for samplers that takes its numbers, in order of calls, from `generator`.

    Float32 on the generator's device. The same seed gives the same sample for the same batch
    only; for draws that don't depend on the batch pass a function of t of your own.
    """

    def uniform(t: int) -> Tensor:
        return torch.rand(tuple(shape), generator=generator, device=generator.device)

    return uniform


def at_temperature(
    uniform: Float[Tensor, "*shape"], temperature: float | Float[Tensor, "1"]
) -> Float[Tensor, "*shape"]:
    """Numbers in [0, 1) that draw sharper bits: `draw(p, at_temperature(u, T))` is 1 with chance

        p^(1/T) / (p^(1/T) + (1 - p)^(1/T)).

    At 1 nothing changes, at 0 a bit is 1 where p > 1/2. Ours: a chain of exact draws (T = 1) ends
    in a mask like another reader's, which agrees less with the first than the likeliest one does.
    """
    return torch.sigmoid(temperature * torch.logit(uniform, eps=LOGIT_CLAMP))
