"""The hybrid: a segmentor, the refiner of its masks, and the diffusion between them."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import Tensor, nn

from hidiff.diffusion import (
    GAUSSIAN,
    SCHEDULES,
    Evidence,
    LossWeights,
    Step,
    bernoulli_process,
    make_schedule,
)
from hidiff.hybrid.evidence import know
from hidiff.labels import Labels
from hidiff.packed import PackedRefiner
from hidiff.refiner import Refiner, check_size
from hidiff.segmentors import Segmentor


class DiffusionSettings(BaseModel):
    """The diffusion between mask and prior."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["bernoulli", "gaussian"] = Field(
        default="bernoulli",
        description="bernoulli (the paper's): bits that flip; gaussian, for comparison: masks of "
        "-1 and 1 under normal noise (DDPM), yt of mean sqrt(alpha_bar) * (2 * y0 - 1) and "
        "variance 1 - alpha_bar. At prediction.temperature 0 it takes the DDIM path from its first "
        "draw of noise, at 1 the ancestral one",
    )
    noise: Literal["prior", "uniform"] = Field(
        default="prior",
        description="probability of the last step's bits: prior (the paper's), the "
        "segmentor's own probability; uniform: 1/2, for comparison, drawn by chance at any "
        "temperature. The network is given the prior in either case",
    )
    schedule: str = Field(default="cosine", description=f"one of {', '.join(SCHEDULES)}")
    num_steps: int = Field(
        default=10, ge=1, description="number of steps of the diffusion, T; 10 is the paper's"
    )
    target: Literal["flip", "residual"] = Field(
        default="residual",
        description="output of the network: flip (the paper's), or the logits to add to the exact "
        "answer for a calibrated prior (ours)",
    )
    reverse: Literal["plug_in", "marginal"] = Field(
        default="marginal",
        description="use of y0_hat in a step back: plug_in (the paper's) puts the soft mask in for "
        "the clean one, which drifts toward 0.5 with the steps; marginal is the exact mixture. "
        "Of kind bernoulli alone",
    )

    last_step_input: Literal["bits", "prior"] = Field(
        default="bits",
        description="input of the network as yT: bits (the paper's), drawn from the prior, or at "
        "prediction.temperature 0 the likeliest; prior: the chances themselves, from which nothing "
        "is drawn. Of noise prior alone",
    )

    @field_validator("schedule")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in SCHEDULES:
            raise ValueError(f"schedule is {name!r}, but must be one of {', '.join(SCHEDULES)}")
        return name

    @model_validator(mode="after")
    def _normal_noise_has_no_bits(self) -> "DiffusionSettings":
        if self.kind == "gaussian" and (self.noise, self.target) != ("prior", "residual"):
            raise ValueError(
                f"kind is gaussian, whose noise is normal and has no bits to flip, but noise is "
                f"{self.noise} and target {self.target}. Leave both out, or take kind bernoulli."
            )
        return self

    @model_validator(mode="after")
    def _the_prior_is_the_noise(self) -> "DiffusionSettings":
        if self.last_step_input == "prior" and (self.kind, self.noise) != ("bernoulli", "prior"):
            raise ValueError(
                f"last_step_input is prior, but kind is {self.kind} and noise {self.noise}, so yT "
                "is not drawn from the prior. Leave last_step_input out."
            )
        return self

    @model_validator(mode="after")
    def _has_steps_enough(self) -> "DiffusionSettings":
        make_schedule(self.schedule, self.num_steps)
        return self


class Look(NamedTuple):
    """The segmentor's output for a batch of images."""

    logits: Float[Tensor, "b k h w"]
    prior: Float[Tensor, "b k h w"]
    features: tuple[Tensor, ...]
    auxiliary: tuple[Tensor, ...] = ()
    """more logits that the segmentor's own loss takes, see SegmentorOutput"""

    def detach(self) -> "Look":
        """Return the same without a gradient, for the refiner's half of the training."""
        features = tuple(feature.detach() for feature in self.features)
        return Look(self.logits.detach(), self.prior.detach(), features)


class HybridSegmentor(nn.Module):
    """A segmentor and a refiner that work as one (HiDiff, arXiv 2407.03548, figure 1)."""

    def __init__(
        self,
        segmentor: nn.Module,
        refiner: Refiner | PackedRefiner,
        labels: Labels,
        settings: DiffusionSettings,
    ):
        super().__init__()
        if not isinstance(segmentor, Segmentor):
            raise ValueError(
                f"{type(segmentor).__name__} is no segmentor: it lacks image_channels, num_planes "
                "or feature_channels. hidiff.wrap(module, features={...}) makes one of it."
            )
        if segmentor.num_planes != labels.num_planes:
            raise ValueError(
                f"the segmentor gives {segmentor.num_planes} planes, but the labels want "
                f"{labels.num_planes}: {', '.join(labels.plane_names)}"
            )
        self.segmentor = segmentor
        self.refiner = refiner
        self.labels = labels
        self.settings = settings
        self.schedule = make_schedule(settings.schedule, settings.num_steps)
        self.process = (
            GAUSSIAN
            if settings.kind == "gaussian"
            else bernoulli_process(settings.noise, settings.target, settings.reverse)
        )

    def place(self, device: torch.device | str) -> "HybridSegmentor":
        """Move to a device, in channels-last layout, which convolutions there run faster in."""
        self.to(device)
        # torch's annotations leave memory_format out of Module.to
        return self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def look(self, image: Float[Tensor, "b c h w"], through: nn.Module | None = None) -> Look:
        """Run the segmentor, once an image; `through` is the same, wrapped for processes."""
        logits, features, auxiliary = (through or self.segmentor)(image)
        # float32 under autocast too: the diffusion's arithmetic starts here
        prior = self.labels.activate(logits.float())
        return Look(logits, prior, features, auxiliary)

    def refiner_loss(
        self,
        denoise: nn.Module,
        image: Float[Tensor, "b c h w"],
        y0: Float[Tensor, "b k h w"],
        look: Look,
        draws: tuple[Tensor, Tensor],
        weights: LossWeights,
        field_of_view: Float[Tensor, "b 1 h w"],
        hints: Float[Tensor, "b k h w"] | None = None,
        evidence: Evidence | None = None,
    ) -> dict[str, Tensor]:
        """Return the refiner's loss (see diffusion.refiner_loss), for `draws` of (t, uniform).

        `denoise` is the refiner, bare, wrapped for several processes, or frozen. `hints` and
        `evidence` are a person's marks, as in `refine`.
        """
        prior = know(look.prior, evidence, self.labels)
        marks = () if hints is None else (hints,)

        def network(yt: Tensor, t: Tensor) -> Tensor:
            shown = self._shown(yt, prior, t)
            return denoise(image, shown, prior, t, look.features, *marks).float()

        t, uniform = draws
        return self.process.loss(
            network,
            y0,
            prior,
            t,
            self.schedule,
            weights=weights,
            uniform=uniform,
            pixel_weight=field_of_view,
            evidence=evidence,
        )

    def prepare(
        self, image: Float[Tensor, "b c h w"], look: Look
    ) -> tuple[tuple[Tensor, ...], ...]:
        """Do the refiner's work that depends on the image alone: tensors of b images each."""
        return self.refiner.prepare(self.refiner.see(image, look.features))

    def refine(
        self,
        image: Float[Tensor, "b c h w"],
        look: Look,
        steps: list[int],
        uniforms: list,
        sampler: str = "ancestral",
        temperature: float = 1.0,
        hints: Float[Tensor, "b k h w"] | None = None,
        evidence: Evidence | None = None,
        prepared: Any = None,
    ) -> Iterator[tuple[Step, ...]]:
        """Refine the masks of a batch, once for each of `uniforms` (one `uniform(t)` a sample).

        All samples take a step, then all the next: yields them, sample by sample, for each of
        `steps`; every `y0_hat` of the last are the samples. The work on the image alone is done
        once, the work on image and t once a step, and no earlier step is kept. The diffusion gives
        `sampler` and `temperature` their meaning: see its `Process`.

        `hints` and `evidence` are a person's marks. Hints (+1 this class, -1 not this class, 0
        nothing said) are read by a refiner that has planes for them, and ignored by another.
        Evidence is certain: there the prior, every yt and every y0_hat are the marked bits. Draws
        do not depend on either. `prepared` is what `prepare` returned, if it was called before.
        """
        check_size(image)
        prior = know(look.prior, evidence, self.labels)
        marks = (hints,) if hints is not None and self.refiner.reads_hints else ()
        prepared = self.prepare(image, look) if prepared is None else prepared

        @lru_cache(maxsize=1)
        def condition(step: int) -> tuple:
            t = torch.full((len(image),), step, device=image.device)
            return self.refiner.condition(prepared, t)

        def predict_y0(yt: Tensor, t: Tensor) -> Tensor:
            # on the CPU, where the range check of the schedule does not wait for the device
            on_cpu = t.cpu()
            conditions = condition(int(on_cpu[0]))
            shown = self._shown(yt, prior, t)
            raw = self.refiner.denoise(image, shown, prior, t, conditions, *marks).float()
            alpha_bar = self.schedule.at(on_cpu).to(yt.device)
            return torch.sigmoid(self.process.target(raw, yt, prior, alpha_bar))

        chains = [
            self.process.sample(
                predict_y0, prior, self.schedule, steps, uniform, sampler, temperature, evidence
            )
            for uniform in uniforms
        ]
        yield from zip(*chains, strict=True)

    def _shown(self, yt: Tensor, prior: Tensor, t: Tensor) -> Tensor:
        """Return what the network reads as yt."""
        if self.settings.last_step_input == "bits":
            return yt
        last = (t == self.schedule.num_steps)[:, None, None, None]
        return torch.where(last, prior, yt)
