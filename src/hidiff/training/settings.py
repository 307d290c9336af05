"""The settings of a training run."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from hidiff.diffusion import LossWeights
from hidiff.training.correction import SimulatedMarks

# Marks a setting that the first stage does not depend on.
ONLY_STAGE2: JsonDict = {"only_stage2": True}


class TrainingSettings(BaseModel):
    """The length, the rates and the losses of the training of the two networks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    arm: Literal["hybrid", "segmentor_only"] = Field(
        default="hybrid",
        description="hybrid: stage 2 trains segmentor and refiner, as the next setting says; "
        "segmentor_only: the baseline, stage 2 goes on with the segmentor for as many training "
        "FLOPs as the hybrid's",
        json_schema_extra=ONLY_STAGE2,
    )
    segmentor: Literal["trained", "joint", "frozen"] = Field(
        default="trained",
        description="trained (the paper's): stage 2 trains it in turns with the refiner; joint: "
        "one step moves both, on the sum of their losses, for about two thirds of the work; "
        "frozen: it comes trained and stays as it is; stage 1 is skipped, and stage 2 trains the "
        "refiner alone",
        json_schema_extra=ONLY_STAGE2,
    )
    batch_size: int = Field(default=8, ge=1, description="patches in each step, over all processes")
    accumulation: int = Field(
        default=1, ge=1, description="parts that a batch is split into, to save memory"
    )
    stage1_steps: int = Field(default=2000, ge=0, description="steps of the segmentor alone")
    stage2_steps: int = Field(
        default=4000,
        ge=0,
        description="iterations of stage 2 (hybrid)",
        json_schema_extra=ONLY_STAGE2,
    )
    stage1_rate: float = Field(default=1e-3, gt=0, description="learning rate of AdamW in stage 1")
    segmentor_rate: float = Field(
        default=1e-4,
        gt=0,
        description="learning rate of the segmentor in stage 2; 1e-4 is the paper's",
        json_schema_extra=ONLY_STAGE2,
    )
    refiner_rate: float = Field(
        default=1e-3,
        gt=0,
        description="learning rate of the refiner; 1e-4 is the paper's, at width 128",
        json_schema_extra=ONLY_STAGE2,
    )
    weight_decay: float = Field(default=1e-4, ge=0, description="weight decay of AdamW")
    decay_power: float = Field(
        default=0.9,
        ge=0,
        description="power in rate * (1 - share of steps done)^power; 0.9 is the paper's",
    )
    clip_norm: float = Field(default=1.0, gt=0, description="largest norm of a network's gradient")
    diffusion_weight: float = Field(
        default=1.0,
        ge=0,
        description="share of the refiner's loss in the segmentor's, or in the sum (joint); 0: no "
        "collaboration",
        json_schema_extra=ONLY_STAGE2,
    )
    last_step_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="share of the patches with t = T, the step where every prediction begins; for "
        "the others t is drawn from 1..T (the paper's: 0)",
        json_schema_extra=ONLY_STAGE2,
    )
    last_step_bits: Literal["drawn", "likeliest"] = Field(
        default="drawn",
        description="bits of yT: drawn by chance from the prior (the paper's), or the likeliest, "
        "as in a prediction at temperature 0",
        json_schema_extra=ONLY_STAGE2,
    )
    loss: LossWeights = Field(default=LossWeights(), json_schema_extra=ONLY_STAGE2)
    correction: SimulatedMarks = Field(default=SimulatedMarks(), json_schema_extra=ONLY_STAGE2)
    mixed_precision: Literal["no", "bf16"] = Field(
        default="no", description="bf16 is for GPUs: on a CPU it is slower"
    )
    validate_every: int = Field(
        default=500, ge=1, description="steps between validations", json_schema_extra=ONLY_STAGE2
    )
    save_every: int = Field(default=200, ge=1, description="steps between checkpoints")
    log_every: int = Field(default=20, ge=1, description="steps between rows of metrics.jsonl")
    workers: int = Field(default=0, ge=0, description="processes that load patches")
    start_from: str | None = Field(
        default=None,
        description="a checkpoint to fine-tune: its segmentor and refiner",
        json_schema_extra=ONLY_STAGE2,
    )

    @model_validator(mode="after")
    def _something_trains(self) -> "TrainingSettings":
        if self.arm == "segmentor_only" and self.segmentor == "frozen":
            raise ValueError("arm segmentor_only trains the segmentor, so it cannot be frozen")
        return self

    @model_validator(mode="after")
    def _the_refiner_learns_too(self) -> "TrainingSettings":
        if self.segmentor == "joint" and self.diffusion_weight == 0:
            raise ValueError(
                "segmentor is joint and diffusion_weight 0, so the refiner's loss would not count "
                "for either network. Raise diffusion_weight."
            )
        return self

    @model_validator(mode="after")
    def _parts_are_equal(self) -> "TrainingSettings":
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"batch_size is {self.batch_size}, which accumulation {self.accumulation} does not "
                "divide: use a multiple of it"
            )
        return self


def stage1_settings(model: type[BaseModel] = TrainingSettings) -> list[str]:
    """Return the names of the settings that the first stage depends on.

    These are all but the marked ones, so a new setting counts unless somebody marks it.
    """
    return [
        name for name, field in model.model_fields.items() if field.json_schema_extra != ONLY_STAGE2
    ]
