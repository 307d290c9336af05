"""The stages of a training: which networks each one moves, by which losses, at which rates.

To add a stage, write how one part of a batch goes through the networks (a function like
`train_jointly`) and one `Stage`; a setting chooses it in `STAGE2`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from hidiff.hybrid import HybridSegmentor, Look
from hidiff.training.settings import TrainingSettings, stage1_settings
from hidiff.training.steps import (
    Batch,
    Marked,
    joint_step,
    look_frozen,
    refiner_step,
    segmentor_only_step,
    segmentor_step,
)

SEGMENTOR, REFINER = "segmentor", "refiner"

# The networks to move, and the losses that move them; "loss" is the sum to go back through.
Half = tuple[tuple[str, ...], dict[str, Tensor]]


@dataclass(frozen=True)
class Part:
    """One part of a batch, and everything that takes it through the networks."""

    hybrid: HybridSegmentor
    networks: Mapping[str, nn.Module]
    """segmentor and refiner of the hybrid, bare or wrapped for several processes"""
    batch: Batch
    draw: Callable[[str], tuple[Tensor, Tensor]]
    """returns t and the uniform numbers of yt for the half of this name (see draw_noise)"""
    mark: Callable[[Look], Marked]
    """returns a person's marks on the batch, simulated or none (see mark_hybrid)"""
    settings: TrainingSettings

    def look(self) -> Look:
        """Run the segmentor as it trains."""
        self.hybrid.segmentor.train()
        return self.hybrid.look(self.batch.image, self.networks[SEGMENTOR])


def train_segmentor(part: Part) -> Iterator[Half]:
    """Train the segmentor on its own loss."""
    yield (SEGMENTOR,), segmentor_only_step(part.hybrid, part.look(), part.batch)


def train_in_turns(part: Part) -> Iterator[Half]:
    """Train the refiner, then the segmentor, which meets the refiner as the first half left it.

    If a batch has several parts, the networks move after the last one only: the segmentor's half of
    the earlier parts meets the refiner as it was before the step.
    """
    look = part.look()
    marked = part.mark(look)
    yield (REFINER,), _refiner_losses(part, look, marked)
    draws, weight = part.draw(SEGMENTOR), part.settings.diffusion_weight
    losses = segmentor_step(
        part.hybrid, look, part.batch, draws, part.settings.loss, weight, marked
    )
    yield (SEGMENTOR,), losses


def train_jointly(part: Part) -> Iterator[Half]:
    """Train both networks at once on the sum of their losses."""
    look, draws = part.look(), part.draw(REFINER)
    losses = joint_step(
        part.hybrid,
        part.networks[REFINER],
        look,
        part.batch,
        draws,
        part.settings.loss,
        part.settings.diffusion_weight,
        part.mark(look),
    )
    yield (REFINER, SEGMENTOR), losses


def train_refiner(part: Part) -> Iterator[Half]:
    """Train the refiner behind a frozen segmentor, which is in eval mode."""
    look = look_frozen(part.hybrid, part.batch.image)
    yield (REFINER,), _refiner_losses(part, look, part.mark(look))


def _refiner_losses(part: Part, look: Look, marked: Marked) -> dict[str, Tensor]:
    draws = part.draw(REFINER)
    return refiner_step(
        part.hybrid, part.networks[REFINER], look, part.batch, draws, part.settings.loss, marked
    )


# Two stages with equal fields are still two stages, so they compare by identity.
@dataclass(frozen=True, eq=False)
class Stage:
    """One stage of a training."""

    name: str
    """written into checkpoints, logs and seeds, so it never changes"""
    rates: Mapping[str, str]
    """the setting of the learning rate of each network that moves"""
    halves: Callable[[Part], Iterator[Half]]
    """takes a part of a batch through the networks; between halves, networks may move"""
    model: str = "last"
    """name of the file with the stage's latest model"""
    best_model: str = "best"
    """name of the file with the stage's best model in validation"""
    settings_read: tuple[str, ...] = tuple(TrainingSettings.model_fields)
    """the training settings that the stage's weights can depend on"""

    @property
    def networks(self) -> tuple[str, ...]:
        """Return the names of the networks that move."""
        return tuple(self.rates)

    @property
    def trains_segmentor(self) -> bool:
        return SEGMENTOR in self.rates

    @property
    def leaves_refiner(self) -> bool:
        """Return whether the refiner is trained after this stage."""
        return REFINER in self.rates

    def rate(self, network: str, settings: TrainingSettings) -> float:
        """Return the learning rate that a network starts with."""
        return getattr(settings, self.rates[network])


# (hybrid in eval mode, stage) -> numbers; the best model has the highest "score"
Validate = Callable[[HybridSegmentor, Stage], dict[str, float]]

BOTH_RATES = {SEGMENTOR: "segmentor_rate", REFINER: "refiner_rate"}

STAGE1 = Stage(
    "stage1",
    {SEGMENTOR: "stage1_rate"},
    train_segmentor,
    model="stage1",
    best_model="stage1_best",
    settings_read=tuple(stage1_settings()),
)
IN_TURNS = Stage("in_turns", BOTH_RATES, train_in_turns)
JOINT = Stage("joint", BOTH_RATES, train_jointly)
REFINER_ONLY = Stage("refiner_only", {REFINER: "refiner_rate"}, train_refiner)
# The segmentor goes on alone for as many FLOPs as the hybrid's second stage.
BASELINE = Stage("segmentor_only", {SEGMENTOR: "segmentor_rate"}, train_segmentor)

STAGES = {stage.name: stage for stage in (STAGE1, IN_TURNS, JOINT, REFINER_ONLY, BASELINE)}
# The second stage of the hybrid, by the setting training.segmentor.
STAGE2 = {"trained": IN_TURNS, "joint": JOINT, "frozen": REFINER_ONLY}
MODEL_FILES = tuple(
    dict.fromkeys(
        f"{name}.safetensors"
        for stage in STAGES.values()
        for name in (stage.model, stage.best_model)
    )
)


def stage2_of(settings: TrainingSettings) -> Stage:
    """Return the hybrid's second stage; the baseline's second stage costs as much."""
    return STAGE2[settings.segmentor]
