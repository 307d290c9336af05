"""The time that a recipe would train on this machine, from one timed step of each stage."""

from dataclasses import dataclass

import torch

from hidiff.experiment.networks import make_hybrid
from hidiff.experiment.start import effective_settings
from hidiff.recipe import Recipe
from hidiff.training import Budget, Stage, count_flops, plan_stages, time_steps


@dataclass(frozen=True)
class Duration:
    """Steps of each stage, and the seconds of one of them."""

    steps: dict[Stage, int]
    seconds: dict[Stage, float]

    @property
    def minutes(self) -> float:
        """Return the minutes of all stages, without validation."""
        return sum(count * self.seconds[stage] for stage, count in self.steps.items()) / 60


def estimate_duration(recipe: Recipe, *, cpu: bool = False) -> Duration:
    """Time a step of each stage of a recipe, on the GPU if there is one and `cpu` does not forbid.

    The networks get random weights, as weights do not bear on time. Raises ValueError or
    ImportError for networks that cannot be made here.
    """
    settings, patch_size = effective_settings(recipe), recipe.data.patch_size
    hybrid = make_hybrid(recipe)
    if torch.cuda.is_available() and not cpu:
        hybrid = hybrid.cuda()
    seconds = time_steps(hybrid, patch_size, settings)
    counts = Budget({})
    if settings.arm == "segmentor_only":  # its steps cost as many FLOPs as the other arm's
        counts = count_flops(hybrid, patch_size, settings)
    steps = plan_stages(settings, counts)
    alone = min(seconds.values())  # the stage that trains the segmentor alone
    return Duration(steps, {stage: seconds.get(stage, alone) for stage in steps})
