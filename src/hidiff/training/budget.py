"""The training budget in FLOPs, counted once, so that every arm spends the same."""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_backward_flop

from hidiff.hybrid import HybridSegmentor, Look
from hidiff.training.correction import mark_hybrid
from hidiff.training.settings import TrainingSettings
from hidiff.training.stages import BASELINE, STAGE1, Part, Stage, stage2_of
from hidiff.training.steps import Batch, Marked, draw_noise

MOST_TIMED = 8  # images of a batch


@dataclass(frozen=True)
class Budget:
    """FLOPs, forward and backward, of one training step on a batch."""

    per_step: Mapping[Stage, int]

    def total(self, stage: Stage, steps: int) -> int:
        """Return the FLOPs of `steps` steps of a stage."""
        return steps * self.per_step[stage]

    def equal_steps(self, stage: Stage, other: Stage, steps: int) -> int:
        """Return how many steps of a stage cost what `steps` steps of another cost."""
        return round(self.total(other, steps) / self.per_step[stage])


def plan_stages(settings: TrainingSettings, budget: Budget) -> dict[Stage, int]:
    """Return the stages of a training, in order, and the steps of each."""
    stage2, plan = stage2_of(settings), {}
    if stage2.trains_segmentor:
        plan[STAGE1] = settings.stage1_steps
    if settings.arm == "segmentor_only":
        plan[BASELINE] = budget.equal_steps(BASELINE, stage2, settings.stage2_steps)
    else:
        plan[stage2] = settings.stage2_steps
    return {stage: steps for stage, steps in plan.items() if steps}


def count_flops(
    hybrid: HybridSegmentor, patch_size: tuple[int, int], settings: TrainingSettings
) -> Budget:
    """Count one step of each stage on two random patches of (height, width), scaled to the batch.

    Counted are the hybrid's second stage and, if the segmentor is trained, the stages that train it
    alone. A 1-bit convolution counts like a real one. The networks are copied, so nothing of them
    moves.
    """
    part = _make_part(hybrid, patch_size, settings, images=2)
    stage2 = stage2_of(settings)
    per_step = {stage2: _count_step(stage2, part, settings.batch_size)}
    if stage2.trains_segmentor:
        alone = _count_step(STAGE1, part, settings.batch_size)
        per_step |= {STAGE1: alone, BASELINE: alone}
    return Budget(per_step)


def time_steps(
    hybrid: HybridSegmentor, patch_size: tuple[int, int], settings: TrainingSettings
) -> dict[Stage, float]:
    """Measure the seconds of one step of each stage on this machine, forward and backward.

    A batch of random patches of (height, width) takes the step twice, and the second time counts.
    Of a large batch a part is timed. Optimizer, loading of images and validation are left out. The
    networks are copied, so nothing of them moves.
    """
    images = min(settings.batch_size, MOST_TIMED)
    part = _make_part(hybrid, patch_size, settings, images)
    stage2 = stage2_of(settings)
    stages = (STAGE1, stage2) if stage2.trains_segmentor else (stage2,)
    seconds = {}
    for stage in stages:
        for _ in range(2):
            started = time.monotonic()
            for _, losses in stage.halves(part):
                losses["loss"].backward()
            if part.batch.image.is_cuda:
                torch.cuda.synchronize()
            seconds[stage] = (time.monotonic() - started) * settings.batch_size / images
    return seconds


def _make_part(
    hybrid: HybridSegmentor, patch_size: tuple[int, int], settings: TrainingSettings, images: int
) -> Part:
    """Return a batch of empty patches for a copy of the networks."""
    hybrid = copy.deepcopy(hybrid).train()
    device = next(hybrid.parameters()).device
    channels, planes = hybrid.segmentor.image_channels, hybrid.labels.num_planes
    image = torch.zeros(images, channels, *patch_size, device=device)
    y0 = torch.zeros(images, planes, *patch_size, device=device)
    batch = Batch([""] * images, image, y0, torch.ones_like(y0[:, :1]))
    draws = draw_noise(batch, hybrid.schedule.num_steps, 0)
    networks = {"segmentor": hybrid.segmentor, "refiner": hybrid.refiner}

    def mark(look: Look) -> Marked:
        return mark_hybrid(hybrid, batch, look, settings.correction, 0)

    return Part(hybrid, networks, batch, lambda _: draws, mark, settings)


def _count_step(stage: Stage, part: Part, batch_size: int) -> int:
    """Return the FLOPs of one step on a batch, from those on this part of one."""
    with flop_counter() as counter:
        for _, losses in stage.halves(part):
            losses["loss"].backward()
    return round(counter.get_total_flops() * batch_size / len(part.batch.names))


def flop_counter() -> FlopCounterMode:
    """Return torch's counter, corrected for the weights' gradients of convolutions in groups."""
    backward = {torch.ops.aten.convolution_backward: conv_backward_in_groups}
    return FlopCounterMode(display=False, custom_mapping=backward)


def conv_backward_in_groups(*given, out_shape) -> int:
    """Return torch's count, but a weight's gradient takes its own group's channels only."""
    *shapes_and_layout, groups, (of_input, of_weight, _) = given
    count: Callable[..., int] = conv_backward_flop
    counted = [
        count(*shapes_and_layout, groups, mask, out_val=out_shape)
        for mask in ((of_input, False, False), (False, of_weight, False))
    ]
    return counted[0] + counted[1] // groups
