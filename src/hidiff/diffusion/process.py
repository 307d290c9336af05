"""The diffusion that the settings choose, as the three functions that a hybrid calls."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from hidiff.diffusion.bernoulli import NOISES, RESIDUALS, REVERSE, TARGETS, Target
from hidiff.diffusion.evidence import Evidence
from hidiff.diffusion.gaussian import gaussian_y0_logits
from hidiff.diffusion.losses import gaussian_loss, refiner_loss
from hidiff.diffusion.samplers import (
    SAMPLERS,
    PredictY0,
    Step,
    Uniform,
    at_temperature,
    sample_gaussian,
)
from hidiff.diffusion.schedule import Schedule


@dataclass(frozen=True)
class Process:
    """A diffusion: masks are lost in noise, and found again step by step."""

    target: Target
    """turns the network's output into logits of y0_hat"""
    loss: Callable[..., dict[str, Tensor]]
    """computes the losses of refiner_loss, without the arguments that are chosen here"""
    sample: Callable[..., Iterator[Step]]
    """(predict_y0, prior, schedule, steps, uniform, sampler, temperature, evidence) -> steps"""


def bernoulli_process(noise: str, target: str, reverse: str) -> Process:
    """Return the process in which bits flip toward the noise.

    The names are keys of NOISES, TARGETS and REVERSE.

    A temperature sharpens every draw (`at_temperature`) but that of uniform noise itself.
    """
    noise_of, back = NOISES[noise], REVERSE[reverse]
    y0_logits = RESIDUALS[noise] if target == "residual" else TARGETS[target]

    loss = partial(refiner_loss, target=y0_logits, reverse=back, noise=noise_of)

    def sample(
        predict_y0: PredictY0,
        prior: Float[Tensor, "b k h w"],
        schedule: Schedule,
        steps: Sequence[int],
        uniform: Uniform,
        sampler: str,
        temperature: float,
        evidence: Evidence | None = None,
    ) -> Iterator[Step]:
        def sharpened(t: int) -> Tensor:
            # of a fair coin's sides none is the likelier one
            fair = noise == "uniform" and t == schedule.num_steps
            if temperature == 0 and not fair:
                # what at_temperature makes of any number, which then need not be drawn
                return torch.full_like(prior, 0.5)
            return uniform(t) if fair else at_temperature(uniform(t), temperature)

        return SAMPLERS[sampler](
            predict_y0, noise_of(prior), schedule, steps, sharpened, back, evidence
        )

    return Process(y0_logits, loss, sample)


def _sample_gaussian(
    predict_y0: PredictY0,
    prior: Float[Tensor, "b k h w"],
    schedule: Schedule,
    steps: Sequence[int],
    uniform: Uniform,
    sampler: str,
    temperature: float,
    evidence: Evidence | None = None,
) -> Iterator[Step]:
    eta = temperature * SAMPLERS[sampler].gaussian_eta
    return sample_gaussian(predict_y0, prior, schedule, steps, uniform, eta, evidence)


GAUSSIAN = Process(gaussian_y0_logits, gaussian_loss, _sample_gaussian)
"""Masks of -1 and 1 under normal noise. A temperature is DDIM's eta; the sampler ddim's is 0."""
