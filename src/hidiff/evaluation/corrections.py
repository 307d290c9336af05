"""Scores of masks while a person corrects them, click by click at the largest error.

Everything happens at the size that the networks see, on one image or slice at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from hidiff.datasets import Case
from hidiff.diffusion import Evidence, subset
from hidiff.hybrid import HybridSegmentor, Look
from hidiff.labels import Labels
from hidiff.loading import LoadedCases, segmentor_input
from hidiff.marks import Mark, click_deepest, draw_marks, find_errors
from hidiff.metrics.table import Row
from hidiff.prediction import Predictor
from hidiff.refiner.unet import MIN_SIZE, STRIDE

Bits = Bool[np.ndarray, "k h w"]
# All marks so far -> the mask that they lead to.
Answer = Callable[[Sequence[Mark]], Bits]
# (predicted, y0) -> the next mark; None if there is nothing to correct.
Person = Callable[[Bits, Bits], Mark | None]
NUMBERS = (0, 1, 3, 5, 10)  # of clicks after which masks are scored


@dataclass(frozen=True)
class Corrected:
    """A mask after some marks."""

    bits: Bits
    mark: Mark | None = None
    """the latest mark; None before the first"""
    area: int = 0
    """pixels that the latest mark touches"""
    collateral: int = 0
    """pixels outside of the latest mark that were right before it and are wrong after it"""


def correct(
    answer: Answer,
    y0: Bits,
    inside: Bool[np.ndarray, "h w"],
    number: int,
    person: Person,
) -> Iterator[Corrected]:
    """Yield the mask without a mark, and after each of at most `number` marks.

    Pixels outside of `inside` have no errors. Ends early if the person finds nothing to correct.
    """
    marks: list[Mark] = []
    bits = np.where(inside, answer(marks), y0)
    yield Corrected(bits)
    for _ in range(number):
        mark = person(bits, y0)
        if mark is None:
            return
        marks.append(mark)
        before, bits = bits, np.where(inside, answer(marks), y0)
        size = (y0.shape[1], y0.shape[2])
        footprint = mark.footprint(size, size)
        turned = (before == y0).all(axis=0) & (bits != y0).any(axis=0)
        turned[footprint.box] &= ~footprint.mask
        area = int(np.count_nonzero(footprint.mask))
        yield Corrected(bits, mark, area, int(np.count_nonzero(turned)))


def clicker(labels: Labels) -> Person:
    """Return a person who clicks at the deepest point of the largest error, as wide as fits."""

    def click(predicted: Bits, y0: Bits) -> Mark | None:
        errors = find_errors(predicted, y0, exclusive=labels.kind == "exclusive")
        return click_deepest(errors[0]) if errors else None

    return click


class Refining:
    """A hybrid's answers on one image: the refiner reads the marks, at temperature 0.

    Clicks and strokes that are exact are evidence as well as hints. The image (c h w) is what the
    segmentor reads; sides that are no multiple of 32, or below 64, are padded by repeating the rim.
    `steps` is how many steps the refiner takes from t = T to 1.
    """

    def __init__(self, hybrid: HybridSegmentor, image: Float[Tensor, "c h w"], steps: int = 1):
        self.hybrid, self.steps = hybrid, steps
        self.size = (image.shape[1], image.shape[2])
        height, width = (max(-(-side // STRIDE) * STRIDE, MIN_SIZE) for side in self.size)
        self.beyond = (0, width - self.size[1], 0, height - self.size[0])
        self.image = pad(image[None], self.beyond, mode="replicate")
        with torch.no_grad():
            self.look: Look = hybrid.look(self.image)

    @property
    def prior(self) -> Float[np.ndarray, "k h w"]:
        """The segmentor's probabilities."""
        return self.cropped(self.look.prior)

    @torch.no_grad()
    def probability(self, marks: Sequence[Mark]) -> Float[np.ndarray, "k h w"]:
        """Return the refined probabilities, given all marks."""
        hints, evidence = self.planes(marks)
        half = torch.full_like(self.look.prior, 0.5)  # at temperature 0 nothing is drawn by chance
        *_, [last] = self.hybrid.refine(
            self.image, self.look, subset(self.hybrid.schedule.num_steps, self.steps),
            [lambda _: half], temperature=0.0, hints=hints, evidence=evidence,
        )  # fmt: skip
        return self.cropped(last.y0_hat)

    @torch.no_grad()
    def samples(self, number: int, seed: int = 0) -> list[Float[np.ndarray, "k h w"]]:
        """Return refined probabilities that begin at different draws, without a mark."""
        draws = torch.Generator().manual_seed(seed)

        def uniform(_: int) -> Tensor:
            return torch.rand(self.look.prior.shape, generator=draws)

        steps = subset(self.hybrid.schedule.num_steps, self.steps)
        *_, last = self.hybrid.refine(self.image, self.look, steps, [uniform] * number)
        return [self.cropped(each.y0_hat) for each in last]

    def with_steps(self, steps: int) -> "Refining":
        """Return the same with another number of steps; the segmentor does not run again."""
        other = copy(self)
        other.steps = steps
        return other

    def __call__(self, marks: Sequence[Mark]) -> Bits:
        """Return the mask, given all marks."""
        return self.hybrid.labels.bits(self.probability(marks))

    def planes(self, marks: Sequence[Mark]) -> tuple[Tensor | None, Evidence | None]:
        """Return the hints and evidence of all marks, padded like the image; None without marks."""
        if not marks:
            return None, None
        labels = self.hybrid.labels
        exclusive = labels.kind == "exclusive"
        drawn = draw_marks(marks, self.size, self.size, labels.num_planes, exclusive=exclusive)
        hints, exact, y0 = (
            pad(planes[None].float(), self.beyond).to(self.image.device)
            for planes in (drawn.hints, drawn.exact, drawn.y0)
        )
        return hints, Evidence(exact > 0, y0)

    def cropped(self, planes: Float[Tensor, "1 k _ _"]) -> Float[np.ndarray, "k h w"]:
        """Return planes without the padding."""
        return planes[0, :, : self.size[0], : self.size[1]].cpu().numpy()


class Painting:
    """Answers of a mask on which exact marks are painted, and nothing else changes."""

    def __init__(self, bits: Bits, labels: Labels):
        self.bits, self.labels = bits, labels

    def __call__(self, marks: Sequence[Mark]) -> Bits:
        """Return the mask, given all marks."""
        return paint(self.bits, marks, self.labels)


def paint(bits: Bits, marks: Sequence[Mark], labels: Labels) -> Bits:
    """Return a mask with the exact marks painted on it."""
    size = (bits.shape[1], bits.shape[2])
    exclusive = labels.kind == "exclusive"
    drawn = draw_marks(marks, size, size, len(bits), exclusive=exclusive)
    return np.where(drawn.exact.numpy(), drawn.hints.numpy() > 0, bits)


def overlap(
    bits: Bool[np.ndarray, "h w"],
    y0: Bool[np.ndarray, "h w"],
    inside: Bool[np.ndarray, "h w"],
) -> tuple[float, float]:
    """Return Dice and IoU; of two empty masks both are 1."""
    both = int(np.count_nonzero(bits & y0 & inside))
    either = int(np.count_nonzero((bits | y0) & inside))
    return (2 * both / (both + either), both / either) if either else (1.0, 1.0)


def correct_cases(
    predictor: Predictor, cases: Sequence[Case], numbers: Sequence[int] = NUMBERS
) -> list[Row]:
    """Return a row for each image or slice, class and number of clicks.

    Slices that show no class are left out. `band` says after how many clicks; `dice` and `iou` are
    the mask's then, `collateral` is the mean over the clicks so far of the share of counted pixels
    that a click turned wrong outside of itself. A model without a refiner is corrected by painting.
    """
    rows: list[Row] = []
    for case in cases:
        loaded = LoadedCases([case], predictor.reading, cache=False)
        for number in range(len(loaded)):
            item = loaded[number]
            y0, inside = item["y0"].numpy() > 0, item["field_of_view"][0].numpy() > 0
            if (y0[predictor.labels.class_planes] & inside).any():
                answer = answer_of(predictor, item)
                person = clicker(predictor.labels)
                taken = list(correct(answer, y0, inside, max(numbers), person))
                source = "refined" if predictor.refines else "prior"
                start = {"case": item["name"], "group": case.group, "source": source}
                rows += _rows(start, taken, y0, inside, predictor.labels, numbers)
    return rows


def answer_of(predictor: Predictor, item: dict) -> Answer:
    """Return what a model answers to marks on an item of LoadedCases."""
    batched = {name: each[None] for name, each in item.items() if isinstance(each, Tensor)}
    image = segmentor_input(batched)[0].to(predictor.device)
    refining = Refining(predictor.hybrid, image)
    if predictor.refines:
        return refining
    return Painting(predictor.labels.bits(refining.prior), predictor.labels)


def _rows(
    start: Row,
    taken: Sequence[Corrected],
    y0: Bits,
    inside: Bool[np.ndarray, "h w"],
    labels: Labels,
    numbers: Sequence[int],
) -> list[Row]:
    """Return the rows of one image; a mask that is right early stays as it is."""
    rows = []
    for number in numbers:
        so_far = taken[: number + 1]
        harm = np.mean([each.collateral for each in so_far[1:]] or [0]) / max(inside.sum(), 1)
        planes = range(len(y0))[labels.class_planes]
        for name, plane in zip(labels.class_names, planes, strict=True):
            dice, iou = overlap(so_far[-1].bits[plane], y0[plane], inside)
            scores = {"dice": dice, "iou": iou, "collateral": float(harm)}
            rows.append({**start, "class": name, "band": after(number), "count": number, **scores})
    return rows


def after(number: int) -> str:
    """Return the name of the band of masks after some clicks."""
    return f"{number} clicks" if number != 1 else "1 click"
