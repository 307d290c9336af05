"""Simulated marks of a person in training, so that the refiner learns to be corrected by hand."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator
from torch import Tensor

from hidiff.diffusion import Evidence
from hidiff.hybrid import HybridSegmentor, Look
from hidiff.labels import Labels
from hidiff.marks import Mark, draw_marks, seeded, simulate_marks
from hidiff.training.steps import UNMARKED, Batch, Marked


class SimulatedMarks(BaseModel):
    """The marks that stage 2 simulates at the errors of its masks; by default there are none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    marks: int = Field(
        default=0,
        ge=0,
        description="most marks that are simulated on a patch (5 is a good number), so that the "
        "refiner learns to be corrected by hand; needs refiner.hints. 0: none",
    )
    unmarked: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="share of patches without a mark, so that automatic masks stay as good; the "
        "others have 1 to `marks`, each number equally often",
    )
    strokes: float = Field(
        default=0.3, ge=0, le=1, description="share of strokes among the marks; others are clicks"
    )
    rough: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="share of the strokes that are rough: they may lie a little beside the error "
        "and are only hints; the others are certain",
    )
    radius: PositiveFloat | None = Field(
        default=None,
        description="radius of clicks in pixels of the patch; left out: as wide as fits into the "
        "error",
    )
    rounds: int = Field(
        default=1,
        ge=0,
        description="times that the refiner predicts with the marks so far and is marked at its "
        "own errors (RITM, arXiv 2102.06583), each a third of an iteration's work; 0: all marks "
        "are at errors of the segmentor's mask",
    )

    @model_validator(mode="after")
    def _some_are_marked(self) -> "SimulatedMarks":
        if self.marks and self.unmarked == 1:
            raise ValueError(
                "marks are wanted, but unmarked is 1, so no patch would have any. Lower unmarked, "
                "or leave marks out."
            )
        return self


# Marks -> probabilities of the mask that they lead to.
Answer = Callable[[Marked], Float[Tensor, "b k h w"]]


def mark_batch(
    batch: Batch,
    probability: Float[Tensor, "b k h w"],
    answer: Answer,
    settings: SimulatedMarks,
    labels: Labels,
    seed: int,
    words: tuple[int | str, ...] = (),
    first: int = 0,
) -> Marked:
    """Mark errors of the masks of `probability`, then, round by round, those of `answer`.

    Pixels outside the field of view have no errors and are not marked. The marks of the case at
    place i of the batch are a function of its masks, the seed, the words and `first` + i.
    """
    cases = [
        _Case(truth, inside, settings, labels, seeded(seed, "marks", *words, first + place))
        for place, (truth, inside) in enumerate(
            zip(_on_cpu(batch.y0) > 0, _on_cpu(batch.field_of_view) > 0, strict=True)
        )
    ]
    marked = UNMARKED
    for turn in range(settings.rounds + 1):
        if turn:
            probability = answer(marked)
        drawn = [
            case.mark(labels.bits(planes), turn)
            for case, planes in zip(cases, _on_cpu(probability), strict=True)
        ]
        hints, known, y0 = (
            torch.stack(each).to(batch.y0.device) for each in zip(*drawn, strict=True)
        )
        marked = Marked(hints, Evidence(known, y0))
    return marked


def mark_hybrid(
    hybrid: HybridSegmentor,
    batch: Batch,
    look: Look,
    settings: SimulatedMarks,
    seed: int,
    words: tuple[int | str, ...] = (),
    first: int = 0,
) -> Marked:
    """Simulate marks at errors of the prior and of the hybrid's own masks.

    Without marks in the settings there are none. The refiner predicts as it does for a person: in
    eval mode, in one step at temperature 0.
    """
    if not settings.marks:
        return UNMARKED

    @torch.no_grad()
    def answer(marked: Marked) -> Tensor:
        mode = hybrid.refiner.training
        hybrid.refiner.eval()
        half = torch.full_like(look.prior, 0.5)  # at temperature 0 nothing is drawn by chance
        steps = hybrid.refine(
            batch.image, look.detach(), [hybrid.schedule.num_steps], [lambda _: half],
            temperature=0.0, hints=marked.hints, evidence=marked.evidence,
        )  # fmt: skip
        [[step]] = steps
        hybrid.refiner.train(mode)
        return step.y0_hat

    prior = look.prior.detach()
    return mark_batch(batch, prior, answer, settings, hybrid.labels, seed, words, first)


class _Case:
    """One image of a batch, and the marks on it so far."""

    def __init__(
        self,
        truth: Bool[np.ndarray, "k h w"],
        inside: Bool[np.ndarray, "1 h w"],
        settings: SimulatedMarks,
        labels: Labels,
        rng: np.random.Generator,
    ):
        self.truth, self.inside = truth, inside
        self.settings, self.rng = settings, rng
        self.exclusive = labels.kind == "exclusive"
        number = 0 if rng.random() < settings.unmarked else int(rng.integers(settings.marks)) + 1
        turns = rng.integers(settings.rounds + 1, size=number)
        self.numbers = np.bincount(turns, minlength=settings.rounds + 1).tolist()
        self.marks: list[Mark] = []

    def mark(self, bits: Bool[np.ndarray, "k h w"], turn: int) -> tuple[Tensor, Tensor, Tensor]:
        """Add the marks of a turn; return hints, certain bits' places and bits of all so far."""
        self.marks += simulate_marks(
            np.where(self.inside, bits, self.truth),
            self.truth,
            self.numbers[turn],
            self.rng,
            exclusive=self.exclusive,
            strokes=self.settings.strokes,
            rough=self.settings.rough,
            radius=self.settings.radius,
        )
        size = (self.truth.shape[1], self.truth.shape[2])
        drawn = draw_marks(self.marks, size, size, len(self.truth), exclusive=self.exclusive)
        inside = torch.from_numpy(self.inside)
        return drawn.hints * inside, drawn.exact & inside, drawn.y0 * inside


def _on_cpu(planes: Tensor) -> np.ndarray:
    return planes.detach().float().cpu().numpy()
