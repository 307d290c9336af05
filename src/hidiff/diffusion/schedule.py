"""Schedules, by which the clean mask gives way to the prior: betas, alpha_bar, subsets of steps."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

# Keeps a share of y0 at the last cosine step, as the published code does.
COSINE_MAX_BETA = 0.999
# Keeps the first cosine betas away from zero (Nichol and Dhariwal, arXiv 2102.09672).
COSINE_OFFSET = 0.008


@dataclass(frozen=True, eq=False)  # == of tensors is not a bool
class Schedule:
    """The share of y0 that is left after each step.

    Step t = 1..num_steps keeps `1 - betas[t - 1]` of what was left; `alpha_bar[t]` is their
    product, and `alpha_bar[0] = 1` is the clean mask.
    """

    name: str
    betas: Float64[Tensor, " num_steps"]
    alpha_bar: Float64[Tensor, " num_steps+1"]

    @property
    def num_steps(self) -> int:
        """T, the step at which the mask has become a draw from the prior."""
        return len(self.betas)

    def at(self, t: Int[Tensor, " b"]) -> Float[Tensor, "b 1 1 1"]:
        """Return `alpha_bar` at each row's step t in 0..num_steps, as float32 on its device."""
        low, high = (t.min().item(), t.max().item()) if t.numel() else (0, 0)
        if low < 0 or high > self.num_steps:
            raise ValueError(
                f"t runs from {low} to {high}, but schedule {self.name!r} knows t = 0 (the clean "
                f"mask) to {self.num_steps}. Steps count from 1: a draw of t for training is "
                f"torch.randint(1, {self.num_steps + 1}, (batch,))."
            )
        # float32 first: not every device has float64.
        return self.alpha_bar.float().to(t.device)[t][:, None, None, None]


def cosine_betas(num_steps: int) -> Float64[Tensor, " num_steps"]:
    """alpha_bar = cos((t/T + 0.008) / 1.008 * pi/2), each beta at most 0.999.

    The published code's "cosine" (arXiv 2407.03548); unlike the usual cosine, not squared.
    """
    return _betas_of_cosine(num_steps, power=1)


def cosine2_betas(num_steps: int) -> Float64[Tensor, " num_steps"]:
    """The usual, squared cosine (Nichol and Dhariwal, arXiv 2102.09672), beta at most 0.999."""
    return _betas_of_cosine(num_steps, power=2)


def uniform_betas(num_steps: int) -> Float64[Tensor, " num_steps"]:
    """beta_t = 1 / (T - t + 1): alpha_bar falls in equal steps from 1 to 0."""
    return 1 / torch.arange(num_steps, 0, -1, dtype=torch.float64)


def linear_betas(num_steps: int) -> Float64[Tensor, " num_steps"]:
    """beta_t evenly from 0.1/T to 20/T (Ho et al., arXiv 2006.11239, at T = 1000).

    A beta above 1 means nothing, so it needs T >= 20.
    """
    return torch.linspace(0.1 / num_steps, 20 / num_steps, num_steps, dtype=torch.float64)


def _betas_of_cosine(num_steps: int, power: int) -> Float64[Tensor, " num_steps"]:
    share_of_time = torch.arange(num_steps + 1, dtype=torch.float64) / num_steps
    angle = (share_of_time + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2
    alpha_bar = torch.cos(angle) ** power
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=COSINE_MAX_BETA)


SCHEDULES: dict[str, Callable[[int], Tensor]] = {
    "cosine": cosine_betas,
    "cosine2": cosine2_betas,
    "uniform": uniform_betas,
    "linear": linear_betas,
}


def make_schedule(name: str, num_steps: int) -> Schedule:
    """Make the schedule called `name` (a key of SCHEDULES) over t = 1..num_steps."""
    if name not in SCHEDULES:
        raise ValueError(f"schedule {name!r} is unknown. Choose one of {', '.join(SCHEDULES)}.")
    if num_steps < 1:
        raise ValueError(f"num_steps is {num_steps}, but a schedule needs at least 1 step.")
    betas = SCHEDULES[name](num_steps)
    outside = ((betas > 0) & (betas <= 1)).logical_not().nonzero().flatten().tolist()
    if outside:
        step = outside[0]
        raise ValueError(
            f"schedule {name!r} over {num_steps} steps has beta = {betas[step]:.6g} at step "
            f"t = {step + 1}, but a beta is a chance in (0, 1]. Take more steps ('linear' needs "
            f"20 or more), or another schedule: {', '.join(SCHEDULES)}."
        )
    alpha_bar = torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - betas, dim=0)])
    return Schedule(name=name, betas=betas, alpha_bar=alpha_bar)


def subset(num_steps: int, steps: int | Sequence[int]) -> list[int]:
    """Return the steps that a sampler visits: original t, descending, beginning with T = num_steps.

    A number asks for that many, evenly spaced, the last as far from 0 as from its neighbour
    (10 and 5 give 10, 8, 6, 4, 2). A sequence names them, in any order.
    """
    if isinstance(steps, int):
        if not 1 <= steps <= num_steps:
            raise ValueError(
                f"{steps} steps were asked for, but the schedule has {num_steps}. "
                f"Ask for 1 to {num_steps}."
            )
        # T * i / steps, rounded in whole numbers.
        return [(2 * num_steps * i + steps) // (2 * steps) for i in range(steps, 0, -1)]
    chosen = sorted(steps, reverse=True)
    if not chosen or chosen[0] != num_steps or chosen[-1] < 1:
        raise ValueError(
            f"steps are {list(steps)}, but they must lie in 1..{num_steps} and hold {num_steps}, "
            f"the only step at which a mask can be drawn from the prior. Add {num_steps}, and "
            f"take out what lies outside."
        )
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"steps are {list(steps)}, but each may come once. Take out the repeats.")
    return chosen
