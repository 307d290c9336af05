"""The two halves of an iteration of alternate-collaborative training, the segmentor's own step, and
that of joint training.

Each returns its losses, the sum to go back through under "loss"; optimizers are not moved.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from hidiff import seeding
from hidiff.diffusion import Evidence, LossWeights
from hidiff.hybrid import HybridSegmentor, Look, segmentor_loss


@dataclass(frozen=True)
class Batch:
    """Some images and their masks, on one device."""

    names: list[str]
    image: Float[Tensor, "b c h w"]
    y0: Float[Tensor, "b k h w"]
    field_of_view: Float[Tensor, "b 1 h w"]
    planes: dict[str, Tensor] = field(default_factory=dict)
    """every plane of the items by name (loading.PLANES), those above among them"""


# (name of a stage, first step) -> its batches from that step on, without end. If a batch is split
# into parts, each part comes as a batch of its own, on the device that trains.
Batches = Callable[[str, int], Iterator[Batch]]


class Marked(NamedTuple):
    """A person's marks on a batch; both are None where nobody marks anything."""

    hints: Float[Tensor, "b k h w"] | None = None
    evidence: Evidence | None = None


UNMARKED = Marked()


class Frozen(nn.Module):
    """A network that passes gradients on to its input, and cannot change itself.

    It sees batch statistics as in training; parameters take no gradient, and buffers (batch norm's
    running statistics) move in copies that are thrown away.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, *args: object) -> Tensor:
        state = {name: value.detach() for name, value in self.network.named_parameters()}
        state |= {name: value.clone() for name, value in self.network.named_buffers()}
        return functional_call(self.network, state, args)


def draw_noise(
    batch: Batch,
    num_steps: int,
    seed: int,
    *words: int | str,
    rank: int = 0,
    world: int = 1,
    last_step_share: float = 0.0,
    last_step_bits: Literal["drawn", "likeliest"] = "drawn",
) -> tuple[Tensor, Tensor]:
    """Draw t, and the numbers in [0, 1) with which yt is drawn.

    `last_step_share` of the draws of t are T on purpose, the others uniform in 1..T. If the bits of
    yT shall be the likeliest, their numbers are 1/2. They are drawn for the batches of all
    processes, and each takes its own: several processes see what one with the whole batch would.
    """
    count = len(batch.names)
    generator = seeding.generator(seed, *words)
    t = torch.randint(1, num_steps + 1, (count * world,), generator=generator)
    uniform = torch.rand((count * world, *batch.y0.shape[1:]), generator=generator)
    t[torch.rand(count * world, generator=generator) < last_step_share] = num_steps
    if last_step_bits == "likeliest":
        uniform[t == num_steps] = 0.5
    mine = slice(rank * count, (rank + 1) * count)
    return t[mine].to(batch.y0.device), uniform[mine].to(batch.y0.device)


def segmentor_only_step(hybrid: HybridSegmentor, look: Look, batch: Batch) -> dict[str, Tensor]:
    """Return the segmentor's own loss, for stage 1 and the baseline."""
    losses = [
        segmentor_loss(logits, batch.y0, hybrid.labels, batch.field_of_view)
        for logits in (look.logits, *look.auxiliary)
    ]
    loss = torch.stack(losses).sum()
    return {"loss": loss, "segmentor": loss}


def look_frozen(hybrid: HybridSegmentor, image: Float[Tensor, "b c h w"]) -> Look:
    """Run a segmentor that is not trained: in eval mode, and without gradients."""
    hybrid.segmentor.eval()
    with torch.no_grad():
        return hybrid.look(image)


def refiner_step(
    hybrid: HybridSegmentor,
    denoise: nn.Module,
    look: Look,
    batch: Batch,
    draws: tuple[Tensor, Tensor],
    weights: LossWeights,
    marked: Marked = UNMARKED,
) -> dict[str, Tensor]:
    """Half 1, and all with a frozen segmentor: the refiner learns; prior and features are given to
    it without gradient."""
    losses = hybrid.refiner_loss(
        denoise, batch.image, batch.y0, look.detach(), draws, weights, batch.field_of_view, *marked
    )
    return {"refiner": losses["loss"], **losses}


def segmentor_step(
    hybrid: HybridSegmentor,
    look: Look,
    batch: Batch,
    draws: tuple[Tensor, Tensor],
    weights: LossWeights,
    diffusion_weight: float,
    marked: Marked = UNMARKED,
) -> dict[str, Tensor]:
    """Half 2: the segmentor learns from its own loss and, through prior and features, from the
    refiner's, which itself stays as it is."""
    losses = segmentor_only_step(hybrid, look, batch)
    if diffusion_weight == 0:
        return losses
    refiner = Frozen(hybrid.refiner)
    diffusion = hybrid.refiner_loss(
        refiner, batch.image, batch.y0, look, draws, weights, batch.field_of_view, *marked
    )["loss"]
    return {**losses, "loss": losses["loss"] + diffusion_weight * diffusion, "diffusion": diffusion}


def joint_step(
    hybrid: HybridSegmentor,
    denoise: nn.Module,
    look: Look,
    batch: Batch,
    draws: tuple[Tensor, Tensor],
    weights: LossWeights,
    diffusion_weight: float,
    marked: Marked = UNMARKED,
) -> dict[str, Tensor]:
    """Both learn at once from the sum of both losses, in one pass: nothing is detached."""
    own = segmentor_only_step(hybrid, look, batch)["loss"]
    losses = hybrid.refiner_loss(
        denoise, batch.image, batch.y0, look, draws, weights, batch.field_of_view, *marked
    )
    refiner = losses["loss"]
    return {
        **losses,
        "loss": own + diffusion_weight * refiner,
        "refiner": refiner,
        "segmentor": own,
    }
