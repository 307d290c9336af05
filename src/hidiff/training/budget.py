"""The training budget in FLOPs, counted once, so that every arm spends the same."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_backward_flop

from hidiff.diffusion import LossWeights
from hidiff.hybrid import HybridSegmentor
from hidiff.training.steps import (
    Batch,
    draw_noise,
    joint_step,
    look_frozen,
    refiner_step,
    segmentor_only_step,
    segmentor_step,
)


@dataclass(frozen=True)
class Budget:
    """FLOPs, forward and backward, of one training step on a batch."""

    segmentor_only: int
    in_turns: int
    refiner_only: int = 0
    joint: int = 0

    def of(self, stage: str) -> int:
        """Of a step of a stage; stage 1 trains the segmentor only."""
        kinds = {
            "in_turns": self.in_turns,
            "joint": self.joint,
            "refiner_only": self.refiner_only,
        }
        return kinds.get(stage, self.segmentor_only)

    def total(self, stage: str, steps: int) -> int:
        """Return the FLOPs of `steps` steps of a stage."""
        return steps * self.of(stage)

    def equal_steps(self, stage2_steps: int) -> int:
        """Return how many segmentor-only steps cost what `stage2_steps` steps of both cost."""
        stage = "in_turns" if self.in_turns else "joint"
        return round(self.total(stage, stage2_steps) / self.segmentor_only)


def count_flops(
    hybrid: HybridSegmentor,
    patch_size: tuple[int, int],
    batch_size: int,
    weights: LossWeights,
    diffusion_weight: float,
    frozen: bool = False,
    joint: bool = False,
) -> Budget:
    """Count one step of each kind on two random patches of (height, width), scaled to the batch.

    With a `frozen` segmentor that is the refiner's step alone, else the segmentor's own and that of
    both networks, in turns or `joint`; steps that are not taken count 0. A 1-bit convolution counts
    like a real one. The networks are copied, so nothing of them moves.
    """
    hybrid = copy.deepcopy(hybrid).train()
    device = next(hybrid.parameters()).device
    channels, planes = hybrid.segmentor.image_channels, hybrid.labels.num_planes
    image = torch.zeros(2, channels, *patch_size, device=device)
    y0 = torch.zeros(2, planes, *patch_size, device=device)
    batch = Batch(["", ""], image, y0, torch.ones_like(y0[:, :1]))
    draws = draw_noise(batch, hybrid.schedule.num_steps, 0)
    scale = batch_size / 2

    if frozen:
        with flop_counter() as counted:
            look = look_frozen(hybrid, image)
            refiner_step(hybrid, hybrid.refiner, look, batch, draws, weights)["loss"].backward()
        return Budget(0, 0, round(counted.get_total_flops() * scale))
    hybrid.train()
    with flop_counter() as alone:
        segmentor_only_step(hybrid, hybrid.look(image), batch)["loss"].backward()
    with flop_counter() as both:
        look = hybrid.look(image)
        given = (look, batch, draws, weights)
        if joint:
            joint_step(hybrid, hybrid.refiner, *given, diffusion_weight)["loss"].backward()
        else:
            refiner_step(hybrid, hybrid.refiner, *given)["loss"].backward()
            segmentor_step(hybrid, *given, diffusion_weight)["loss"].backward()
    own, stage2 = (round(each.get_total_flops() * scale) for each in (alone, both))
    in_turns, joined = (0, stage2) if joint else (stage2, 0)
    return Budget(own, in_turns, joint=joined)


def flop_counter() -> FlopCounterMode:
    """torch's, which knows of no groups where it counts the gradients of convolutions' weights."""
    backward = {torch.ops.aten.convolution_backward: conv_backward_in_groups}
    return FlopCounterMode(display=False, custom_mapping=backward)


def conv_backward_in_groups(*given, out_shape) -> int:
    """torch's count, a weight's gradient seeing the channels of its own group only."""
    *shapes_and_layout, groups, (of_input, of_weight, _) = given
    count: Callable[..., int] = conv_backward_flop
    counted = [
        count(*shapes_and_layout, groups, mask, out_val=out_shape)
        for mask in ((of_input, False, False), (False, of_weight, False))
    ]
    return counted[0] + counted[1] // groups
