"""The computations of the exported graphs, as modules that the exporter can follow."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from hidiff.diffusion import NOISES, REVERSE, SAMPLERS, Target, at_temperature, draw
from hidiff.export.plain_refiner import PlainRefiner
from hidiff.hybrid import HybridSegmentor
from hidiff.labels import Labels
from hidiff.refiner import Conditions, Refiner


class WholeGraph(nn.Module):
    """Image in; probability, labels, uncertainty and prior out: a prediction of one step.

    It is made at temperature 0, so nothing is drawn, unless the noise is uniform. Without a refiner
    the prior is the answer.
    """

    outputs = ("probability", "labels", "uncertainty", "prior")

    def __init__(self, hybrid: HybridSegmentor, refiner: Refiner | PlainRefiner | None, t: int):
        super().__init__()
        self.segmentor, self.labels = hybrid.segmentor, hybrid.labels
        self.noise, self.t = hybrid.settings.noise, t
        self.answer = None if refiner is None else Answer(hybrid, refiner)

    @property
    def more_inputs(self) -> list[str]:
        """The inputs after the image."""
        if self.answer is None:
            return []
        drawn = ["uniform"] if self.noise == "uniform" else []
        return [*drawn, *self.answer.marks]

    def forward(self, image: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        logits, features, _ = self.segmentor(image)
        prior = self.labels.activate(logits.float())
        if self.answer is None:
            return (*decide(prior, self.labels), prior)
        given = dict(zip(self.more_inputs, more, strict=True))
        half = torch.full_like(prior, 0.5)  # what every number becomes at temperature 0
        yt = draw(NOISES[self.noise](prior), given.pop("uniform", half))
        refiner, t = self.answer.refiner, torch.full((1,), self.t)
        conditions = refiner.condition(refiner.prepare(refiner.see(image, features)), t)
        y0_hat = self.answer(image, yt, prior, t, conditions, *given.values())
        return (*decide(y0_hat, self.labels), prior)


class SegmentorGraph(nn.Module):
    """Image in; the prior, the chance of the first draw, and all other work on the image out."""

    def __init__(self, hybrid: HybridSegmentor, refiner: Refiner | PlainRefiner):
        super().__init__()
        self.segmentor, self.refiner = hybrid.segmentor, refiner
        self.labels, self.noise = hybrid.labels, NOISES[hybrid.settings.noise]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return two planes, then the maps that each condition block makes of the image."""
        return ("prior", "chance", *condition_names(self.refiner))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        logits, features, _ = self.segmentor(image)
        prior = self.labels.activate(logits.float())
        prepared = self.refiner.prepare(self.refiner.see(image, features))
        # a block of the kind `once` has added its shortcut to the other map already
        maps = [
            each
            for block, part in zip(self.refiner.condition_blocks, prepared, strict=True)
            for each in (part[:1] if block.once else part)
        ]
        return (prior, self.noise(prior), *maps)


class StepGraph(nn.Module):
    """A draw, the refiner's answer to it, and the chances of the next draw.

    yt is 1 where `uniform`, at the temperature, is below `chance`. `next_t` is 0 at the last step.
    """

    outputs = ("y0_hat", "next_chance")

    def __init__(self, hybrid: HybridSegmentor, refiner: Refiner | PlainRefiner, sampler: str):
        super().__init__()
        self.answer = Answer(hybrid, refiner)
        self.noise, self.num_steps = hybrid.settings.noise, hybrid.schedule.num_steps
        self.reverse = SAMPLERS[sampler].reverse or REVERSE[hybrid.settings.reverse]

    def forward(
        self,
        image: Tensor,
        prior: Tensor,
        chance: Tensor,
        uniform: Tensor,
        t: Tensor,
        next_t: Tensor,
        temperature: Tensor,
        *more: Tensor,
    ) -> tuple[Tensor, Tensor]:
        refiner, marks = self.answer.refiner, more[: len(self.answer.marks)]
        maps = iter(more[len(marks) :])
        sharp = at_temperature(uniform, temperature)
        if self.noise == "uniform":  # of a fair coin's sides none is the likelier one
            sharp = torch.where(t == self.num_steps, uniform, sharp)
        yt = draw(chance, sharp)
        prepared = []
        for block in refiner.condition_blocks:
            hidden = next(maps)
            prepared.append((hidden, hidden if block.once else next(maps)))
        conditions = refiner.condition(tuple(prepared), t)
        y0_hat = self.answer(image, yt, prior, t, conditions, *marks)
        now, then = (self.answer.alpha_bar_at(step) for step in (t, next_t))
        return y0_hat, self.reverse(yt, y0_hat, NOISES[self.noise](prior), now, then)


class Answer(nn.Module):
    """y0_hat, the refiner's answer to a noisy mask."""

    alpha_bar: Float[Tensor, " num_steps+1"]

    def __init__(self, hybrid: HybridSegmentor, refiner: Refiner | PlainRefiner):
        super().__init__()
        self.refiner = refiner
        self.target: Target = hybrid.process.target
        self.num_steps = hybrid.schedule.num_steps
        self.shows_prior = hybrid.settings.last_step_input == "prior"
        self.marks = ["hints"] if refiner.reads_hints else []
        self.register_buffer("alpha_bar", hybrid.schedule.alpha_bar.float())

    def alpha_bar_at(self, t: Tensor) -> Float[Tensor, "1 1 1 1"]:
        """Return alpha_bar at a step."""
        return self.alpha_bar[t][:, None, None, None]

    def forward(
        self,
        image: Tensor,
        yt: Tensor,
        prior: Tensor,
        t: Tensor,
        conditions: Conditions,
        *hints: Tensor,
    ) -> Tensor:
        # All images are at one step. It is not repeated for each of them, as their number is free:
        # so all that a fixed step makes of it is a constant of the graph.
        shown = torch.where(t == self.num_steps, prior, yt) if self.shows_prior else yt
        raw = self.refiner.denoise(image, shown, prior, t, conditions, *hints)
        return torch.sigmoid(self.target(raw, yt, prior, self.alpha_bar_at(t)))


def condition_names(refiner: Refiner | PlainRefiner) -> list[str]:
    """Return the names of the maps that the condition blocks make of an image."""
    counts = [1 if block.once else 2 for block in refiner.condition_blocks]
    return [f"condition_{number}" for number in range(sum(counts))]


def decide(
    y0_hat: Float[Tensor, "b k h w"], labels: Labels
) -> tuple[Float[Tensor, "b k h w"], UInt8[Tensor, "b *k h w"], Float[Tensor, "b *k h w"]]:
    """Return probability, labels by the rule `half`, and uncertainty in bits.

    They are those of a `Prediction`: of one class and of exclusive classes, labels and uncertainty
    are one map; of regions, one a plane.
    """
    if labels.kind == "exclusive":
        probability = y0_hat / y0_hat.sum(dim=1, keepdim=True).clamp(min=1e-6)
        chosen = probability.argmax(dim=1)
        return probability, chosen.to(torch.uint8), _information(probability).sum(dim=1)
    chosen = (y0_hat >= 0.5).to(torch.uint8)
    uncertainty = _information(y0_hat) + _information(1 - y0_hat)
    if labels.kind == "one_class":
        chosen, uncertainty = chosen[:, 0], uncertainty[:, 0]
    return y0_hat, chosen, uncertainty


def _information(p: Tensor) -> Tensor:
    # 0 * log 0 is 0
    return -p * torch.log2(p.clamp(min=torch.finfo(torch.float32).tiny))
