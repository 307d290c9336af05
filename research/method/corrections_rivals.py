"""The rivals of research/method/corrections.py: cheaper answers to marks, and RITM's recipe.

Each is a function of all marks so far, as evaluation.corrections wants it. The cheap ones start
from a probability map, the prior's or the refined one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor, nn

from hidiff import weights
from hidiff.diffusion import clamp_evidence
from hidiff.evaluation.corrections import Bits, Refining, paint
from hidiff.experiment import Experiment
from hidiff.experiment.cases import batches, load_cases
from hidiff.hybrid import HybridSegmentor, Look, segmentor_loss
from hidiff.labels import Labels
from hidiff.marks import Mark, draw_marks, spread_marks
from hidiff.marks.spread import EDGE
from hidiff.recipe import Recipe
from hidiff.segmentors.unet import BasicUNet
from hidiff.training import EMA, Batch
from hidiff.training.budget import count_flops, flop_counter
from hidiff.training.correction import mark_batch
from hidiff.training.stages import REFINER_ONLY
from hidiff.training.steps import UNMARKED, Marked, look_frozen

WIDTH = 16  # of RITM's U-Net
Map = Float[np.ndarray, "k h w"]


@dataclass
class Threshold:
    """Moves the threshold, for each mark, in the component under it."""

    probability: Map
    labels: Labels

    def __call__(self, marks: Sequence[Mark]) -> Bits:
        """Return the mask: what is as likely as a mark's own pixels, and connected, follows it."""
        bits = self.labels.bits(self.probability).copy()
        size = (bits.shape[1], bits.shape[2])
        for mark in marks:
            assert mark.plane is not None
            footprint, values = mark.footprint(size, size), self.probability[mark.plane]
            touched = np.zeros(size, dtype=bool)
            touched[footprint.box] = footprint.mask
            level = np.median(values[touched])
            alike = (values >= level if mark.add else values <= level) | touched
            parts, _ = ndimage.label(alike)  # pyright: ignore[reportGeneralTypeIssues]
            followed = np.isin(parts, np.unique(parts[touched]))
            if self.labels.kind == "exclusive":
                bits[:, followed] = False
            bits[mark.plane, followed] = mark.add
        return paint(bits, marks, self.labels)


@dataclass
class Blend:
    """Blends the marks into the map, with a weight that falls with the distance to the mark."""

    probability: Map
    labels: Labels
    reach: float
    """deviation of the Gaussian weight, as a share of the mark's radius"""

    def __call__(self, marks: Sequence[Mark]) -> Bits:
        blended = self.probability.copy()
        size = (blended.shape[1], blended.shape[2])
        for mark in marks:
            footprint = mark.footprint(size, size)
            beside = np.ones(size, dtype=bool)
            beside[footprint.box] = ~footprint.mask
            radius = np.sqrt(max((~beside).sum(), 1) / np.pi)
            distance = ndimage.distance_transform_edt(beside)
            weight = np.exp(-0.5 * (distance / (self.reach * radius)) ** 2)
            for plane in range(len(blended)):
                if plane == mark.plane:
                    says = float(mark.add)
                elif self.labels.kind == "exclusive":
                    says = 0.0
                else:
                    continue
                blended[plane] += weight * (says - blended[plane])
        return paint(self.labels.bits(blended), marks, self.labels)


@dataclass
class RandomWalker:
    """A random walker with priors (Grady, CVPR 2005): marks spread where the image is alike."""

    image: Float[np.ndarray, "c h w"]
    probability: Map
    labels: Labels
    edge: float
    """strength with which differences of the image stop a walker"""
    faith: float
    """weight of the map against that of the neighbours"""

    def __call__(self, marks: Sequence[Mark]) -> Bits:
        size = (self.image.shape[1], self.image.shape[2])
        exclusive = self.labels.kind == "exclusive"
        drawn = draw_marks(marks, size, size, len(self.probability), exclusive=exclusive)
        # spread_marks counts differences of the image in units of its variance
        variance = float(self.image.reshape(len(self.image), -1).var(axis=1).mean())
        known, y0 = drawn.exact.numpy(), drawn.y0.numpy()
        walked = spread_marks(
            self.image, self.probability, known, y0, 1 / self.faith, self.edge * variance
        )
        return paint(self.labels.bits(walked), marks, self.labels)


@dataclass
class Spreading:
    """A network's answer, spread from its marks where the image is alike."""

    refining: Refining
    spread: float
    edge: float = EDGE
    network: "RitmAnswers | None" = None
    """the network that answers; None: the refiner"""

    def __call__(self, marks: Sequence[Mark]) -> Bits:
        refining, labels = self.refining, self.refining.hybrid.labels
        probability = (self.network or refining).probability(marks)
        _, evidence = refining.planes(marks)
        if evidence is not None:
            image, known, y0 = (
                refining.cropped(each) for each in (refining.image, evidence.known, evidence.y0)
            )
            probability = spread_marks(image, probability, known, y0, self.spread, self.edge)
        return paint(labels.bits(probability), marks, labels)


# RITM's recipe (Sofiiuk et al., arXiv 2102.06583): a plain network on image, mask and marks.


class Ritm(nn.Module):
    """A U-Net that reads the image, the prior, its own last mask and the marks."""

    def __init__(self, image_channels: int, num_planes: int):
        super().__init__()
        self.unet = BasicUNet(image_channels + 4 * num_planes, num_planes, WIDTH)

    def forward(self, image: Tensor, prior: Tensor, mask: Tensor, marked: Marked) -> Tensor:
        """Return logits. The certain marks are in them; `mask` is bits."""
        hints = torch.zeros_like(prior) if marked.hints is None else marked.hints
        planes = [image, prior, mask, (hints > 0).float(), (hints < 0).float()]
        return self.unet(torch.cat(planes, dim=1))


def ritm_step(
    network: Ritm, hybrid: HybridSegmentor, batch: Batch, look: Look, recipe: Recipe, step: int
) -> Tensor:
    """Return the loss of a training step, with the marks and rounds of the refiner's own."""
    labels, settings = hybrid.labels, recipe.training.correction
    last = _bits(look.prior, labels)

    @torch.no_grad()
    def answer(marked: Marked) -> Tensor:
        nonlocal last
        network.eval()
        probability = labels.activate(network(batch.image, look.prior, last, marked))
        network.train()
        probability = clamp_evidence(probability, marked.evidence)
        last = _bits(probability, labels)
        return probability

    marked = mark_batch(batch, look.prior, answer, settings, labels, recipe.seed, (step,))
    logits = network(batch.image, look.prior, last, marked)
    counted = batch.field_of_view
    if marked.evidence is not None:  # nothing is to be learned where a mark is certain
        counted = counted * (~marked.evidence.known.any(dim=1, keepdim=True)).float()
    return segmentor_loss(logits, batch.y0, labels, counted)


def train_ritm(recipe: Recipe, folder: Path) -> tuple[Path, dict[str, int]]:
    """Train RITM's network for as many FLOPs as a recipe's refiner; return its file and cost."""
    file = folder / "ritm.safetensors"
    if file.is_file():
        _, words = weights.load(file)
        return file, {name: int(words[name]) for name in ("steps", "flops")}
    trial = Experiment(recipe, folder, cpu=True)
    hybrid, settings = trial.hybrid, trial.settings
    torch.manual_seed(recipe.seed)
    network = Ritm(hybrid.segmentor.image_channels, hybrid.labels.num_planes)
    network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    loaded = load_cases(recipe, trial.splits["train"])
    stream = batches(recipe, settings, loaded, trial.accelerator, REFINER_ONLY.name, 0)
    budget = count_flops(hybrid, recipe.data.patch_size, settings)
    total = budget.total(REFINER_ONLY, settings.stage2_steps)
    batch = next(stream)
    with flop_counter() as counter:
        ritm_step(network, hybrid, batch, look_frozen(hybrid, batch.image), recipe, 0).backward()
    steps = round(total / counter.get_total_flops())
    ema = EMA(network)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=settings.weight_decay)
    for step in range(steps):
        rate = settings.refiner_rate * (1 - step / steps) ** settings.decay_power
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss = ritm_step(network, hybrid, batch, look_frozen(hybrid, batch.image), recipe, step)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        optimizer.step()
        ema.update(network)
        batch = next(stream)
        if step % 50 == 0:
            print(f"RITM: step {step} of {steps}, loss {loss.item():.3f}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    cost = {"steps": steps, "flops": steps * counter.get_total_flops()}
    tensors = {name: each.contiguous() for name, each in ema.module.state_dict().items()}
    weights.save(file, tensors, {name: str(number) for name, number in cost.items()})
    return file, cost


class RitmAnswers:
    """Answers of RITM's network on one image; each call reads the mask that the last gave."""

    def __init__(self, network: Ritm, refining: Refining):
        self.network, self.refining = network, refining
        self.last = _bits(refining.look.prior, refining.hybrid.labels)

    def __call__(self, marks: Sequence[Mark]) -> Bits:
        return self.refining.hybrid.labels.bits(self.probability(marks))

    @torch.no_grad()
    def probability(self, marks: Sequence[Mark]) -> Map:
        labels = self.refining.hybrid.labels
        marked = Marked(*self.refining.planes(marks)) if marks else UNMARKED
        logits = self.network(self.refining.image, self.refining.look.prior, self.last, marked)
        probability = clamp_evidence(labels.activate(logits), marked.evidence)
        self.last = _bits(probability, labels)
        return self.refining.cropped(probability)


def load_ritm(file: Path, hybrid: HybridSegmentor) -> Ritm:
    """Return the trained network."""
    network = Ritm(hybrid.segmentor.image_channels, hybrid.labels.num_planes)
    network.load_state_dict(weights.load(file)[0])
    return network.eval()


def _bits(probability: Tensor, labels: Labels) -> Tensor:
    each = [torch.from_numpy(labels.bits(planes.numpy())) for planes in probability.detach()]
    return torch.stack(each).float()


def grid(name: str) -> Iterator[dict[str, float]]:
    """Yield the settings of a rival that are tried on validation images."""
    if name == "blend":
        yield from ({"reach": reach} for reach in (0.5, 1.0, 2.0))
    if name == "random walker":
        yield from ({"edge": edge, "faith": faith} for edge in (30, 300) for faith in (0.1, 1.0))
