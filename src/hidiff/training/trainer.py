"""The training loop: stage after stage, with checkpoints and validation."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hidiff import seeding
from hidiff.hybrid import HybridSegmentor, Look
from hidiff.training import state
from hidiff.training.budget import Budget, plan_stages
from hidiff.training.conditions import KEY, conditions
from hidiff.training.correction import mark_hybrid
from hidiff.training.ema import EMA
from hidiff.training.finite import check_finite
from hidiff.training.log import RunLog
from hidiff.training.resume import Resumed, check_together, find_resumed, set_aside_unreadable
from hidiff.training.settings import TrainingSettings
from hidiff.training.stages import REFINER, SEGMENTOR, Half, Part, Stage, Validate
from hidiff.training.state import STATE_FILE, Progress
from hidiff.training.steps import Batch, Batches, Marked, draw_noise
from hidiff.training.stopping import StopSignal, TrainingStopped

if TYPE_CHECKING:  # a checkpoint is loaded through this package, and needs no Accelerate
    import accelerate

SAVE_SECONDS = 180.0  # a checkpoint at least so often, however long a step takes


class Trainer:
    """Trains a hybrid and writes its checkpoints to a folder.

    `batches(stage, step)` gives batches of `batch_size / (accumulation * processes)` cases.
    `metadata` (the recipe) goes into each checkpoint.
    """

    def __init__(
        self,
        hybrid: HybridSegmentor,
        batches: Batches,
        settings: TrainingSettings,
        budget: Budget,
        folder: Path,
        seed: int,
        metadata: Mapping[str, str],
        accelerator: "accelerate.Accelerator",
        validate: Validate | None = None,
    ):
        self.accelerator = accelerator
        self.hybrid = hybrid.place(accelerator.device)
        self.batches = batches
        self.settings = settings
        self.budget = budget
        self.folder = folder
        self.seed = seed
        self.metadata = dict(metadata)
        self.validate = validate
        self.ema = EMA(hybrid.refiner)
        self.networks: dict[str, torch.nn.Module] = {
            SEGMENTOR: hybrid.segmentor, REFINER: hybrid.refiner,
        }  # fmt: skip
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.last_good: Path | None = None
        self.stop = StopSignal()

    @property
    def stages(self) -> dict[Stage, int]:
        """Return the stages of this run and their steps, fixed before it starts."""
        return plan_stages(self.settings, self.budget)

    def flops(self, stage: Stage) -> int:
        """Return the FLOPs of a stage of this run."""
        return self.budget.total(stage, self.stages[stage])

    def run(self, resume: bool = False) -> Path:
        """Train all stages and return the last model's file.

        With `resume` the run goes on from its last state, if there is one. Raises NotFiniteError
        for a loss or gradient that is NaN or infinite, and TrainingStopped after SIGTERM, once the
        step is finished and a checkpoint written.
        """
        stages = list(self.stages)
        if not stages:
            raise ValueError(
                "there is no step to train: raise training.stage1_steps or training.stage2_steps "
                "(stage 1 is left out where the segmentor comes trained)."
            )
        names = [stage.name for stage in stages]
        resumed = (
            find_resumed(self.folder, names, self._conditions(), self.accelerator)
            if resume
            else None
        )
        progress = resumed.progress if resumed else None
        check_together(self.folder, names, progress, self.accelerator)
        set_aside_unreadable(self.folder, resumed, self.accelerator)
        self.log = RunLog(self.folder, progress, silent=not self.accelerator.is_main_process)
        first = names.index(progress.stage) if progress else 0
        self._saved_at = time.monotonic()
        try:
            with self.stop:
                for stage in stages[first:]:
                    self._run_stage(stage, resumed)
                    resumed = None
        finally:
            self.log.close()
        return self._model_file(stages[-1])

    def _conditions(self) -> dict[str, str]:
        return conditions(
            workers=self.settings.workers,
            processes=self.accelerator.num_processes,
            device=self.accelerator.device.type,
        )

    def _run_stage(self, stage: Stage, resumed: Resumed | None) -> None:
        total = self.stages[stage]
        self.hybrid.refiner.train()
        self.prepare(stage)
        if resumed:
            progress = resumed.progress
            self.last_good = self._model_file(stage)
            state.load_state(resumed.file, self.saved_networks, self.optimizers)
            self.ema.num_updates = progress.ema_updates
            if progress.unvalidated and self.validate:
                self._validate(stage, progress)
                self._save(stage, progress)
        else:
            progress = Progress(stage.name, 0)
            self.log.row("plan", stage.name, 0, steps=total, flops=self.flops(stage))
        self.log.begin(stage.name, progress.step, total)
        batches = self.batches(stage.name, progress.step)
        while progress.step < total:
            self._set_rates(stage, progress.step, total)
            losses = self.step(stage, progress.step, batches)
            progress.step += 1
            logged = progress.step % self.settings.log_every == 0 or progress.step == total
            numbers = {name: value.item() for name, value in losses.items()} if logged else {}
            if logged:
                self.log.row("train", stage.name, progress.step, **numbers)
            self.log.advance(numbers)
            ended = progress.step == total
            if self.validate and (ended or progress.step % self.settings.validate_every == 0):
                self._validate(stage, progress)
            stop, late = self._any_process(
                self.stop.asked, time.monotonic() - self._saved_at > SAVE_SECONDS
            )
            if ended or stop or late or progress.step % self.settings.save_every == 0:
                self._save(stage, progress)
            if stop and (progress.unvalidated or not (ended and stage is [*self.stages][-1])):
                raise TrainingStopped(f"Stopped by SIGTERM after {stage.name} step {progress.step}")

    def _any_process(self, *flags: bool) -> list[bool]:
        """Return for each flag whether it is set in any process, so that all act alike."""
        if self.accelerator.num_processes == 1:
            return list(flags)
        here = torch.tensor([flags], device=self.accelerator.device)
        return self.accelerator.gather(here).any(dim=0).tolist()  # pyright: ignore[reportAttributeAccessIssue]

    def prepare(self, stage: Stage) -> None:
        """Wrap a stage's networks for the processes, with fresh optimizers."""
        self.optimizers = {}
        for name in stage.networks:
            network: torch.nn.Module = getattr(self.hybrid, name)
            optimizer = torch.optim.AdamW(
                network.parameters(), weight_decay=self.settings.weight_decay
            )
            self.networks[name], self.optimizers[name] = self.accelerator.prepare(
                network, optimizer
            )

    def step(self, stage: Stage, step: int, batches: Iterator[Batch]) -> dict[str, Tensor]:
        """Train one step on one batch, in its parts, and return the mean losses."""
        # whatever draws in a network (dropout) draws the same after a resume
        seeding.seed_libraries(
            seeding.derive(self.seed, stage.name, step, self.accelerator.process_index)
        )
        reported: dict[str, Tensor] = {}
        for number in range(self.settings.accumulation):
            part = self.part(next(batches), step, number)
            last = number == self.settings.accumulation - 1
            for networks, losses in self._halves(stage, part):
                loss = losses.pop("loss")
                check_finite("the loss is", loss, part.batch, stage, step, self.last_good)
                self.accelerator.backward(loss / self.settings.accumulation)
                if last:
                    for network in networks:
                        self._move(network, part.batch, stage, step)
                for name, value in losses.items():  # the mean over the parts
                    share = value.detach() / self.settings.accumulation
                    reported[name] = reported[name] + share if name in reported else share
        return reported

    def part(self, batch: Batch, step: int, number: int) -> Part:
        """Return one part of a step's batch, with all that takes it through the networks."""

        def draw(half: str) -> tuple[Tensor, Tensor]:
            return draw_noise(
                batch, self.hybrid.schedule.num_steps, self.seed, half, step, number,
                rank=self.accelerator.process_index, world=self.accelerator.num_processes,
                last_step_share=self.settings.last_step_share,
                last_step_bits=self.settings.last_step_bits,
            )  # fmt: skip

        def mark(look: Look) -> Marked:
            first, words = self.accelerator.process_index * len(batch.names), (step, number)
            given = self.settings.correction, self.seed, words, first
            return mark_hybrid(self.hybrid, batch, look, *given)

        return Part(self.hybrid, self.networks, batch, draw, mark, self.settings)

    def _halves(self, stage: Stage, part: Part) -> Iterator[Half]:
        """Compute the halves under autocast, which what happens between them does not see."""
        halves = stage.halves(part)
        while True:
            with self.accelerator.autocast():
                half = next(halves, None)
            if half is None:
                return
            yield half

    def _move(self, name: str, batch: Batch, stage: Stage, step: int) -> None:
        network = self.networks[name]
        norm = self.accelerator.clip_grad_norm_(network.parameters(), self.settings.clip_norm)
        # before the weights become NaN, and perhaps a checkpoint of them
        what = f"the norm of the {name}'s gradient is"
        check_finite(what, norm, batch, stage, step, self.last_good)
        self.optimizers[name].step()
        self.optimizers[name].zero_grad()
        if name == REFINER:
            self.ema.update(self.hybrid.refiner)

    def _set_rates(self, stage: Stage, step: int, total: int) -> None:
        """Let the rates fall from the stage's first step to its last."""
        for name, optimizer in self.optimizers.items():
            rate = stage.rate(name, self.settings) * (1 - step / total) ** self.settings.decay_power
            for group in optimizer.param_groups:
                group["lr"] = rate

    def _validate(self, stage: Stage, progress: Progress) -> None:
        """Validate; after SIGTERM only note that it is to be done when the run goes on."""
        assert self.validate is not None
        if self.accelerator.is_main_process:
            mode = self.hybrid.segmentor.training
            progress.unvalidated, numbers = True, {}
            with self.stop.leaving():
                numbers = self.validate(self.predicting().eval(), stage)
                progress.unvalidated = False
            self.hybrid.segmentor.train(mode)
        if self.accelerator.is_main_process and not progress.unvalidated:
            self.log.row("validation", stage.name, progress.step, **numbers)
            shown = "  ".join(f"{name} {value:.4f}" for name, value in numbers.items())
            self.log.say(f"{stage.name} step {progress.step}: {shown}")
            if progress.best is None or numbers["score"] > progress.best:
                progress.best = numbers["score"]
                self._save_model(stage.best_model, progress)
        self.accelerator.wait_for_everyone()

    def predicting(self) -> HybridSegmentor:
        """Return the hybrid as prediction uses it: the live segmentor and the EMA refiner."""
        return HybridSegmentor(
            self.hybrid.segmentor, self.ema.module, self.hybrid.labels, self.hybrid.settings
        )

    @property
    def saved_networks(self) -> dict[str, torch.nn.Module]:
        """Return the networks of a state file, by their names there."""
        return {
            "segmentor": self.hybrid.segmentor,
            "refiner": self.ema.module,
            "live_refiner": self.hybrid.refiner,
        }

    def _save(self, stage: Stage, progress: Progress) -> None:
        if self.accelerator.is_main_process:
            progress.ema_updates = self.ema.num_updates
            progress.seconds = self.log.seconds
            # the state last: a run killed between the two does these steps again
            self._save_model(stage.model, progress)
            path = self.folder / STATE_FILE
            metadata = {**self.metadata, KEY: json.dumps(self._conditions())}
            state.save_state(path, progress, self.saved_networks, self.optimizers, metadata)
        self.last_good = self._model_file(stage)
        self._saved_at = time.monotonic()
        self.accelerator.wait_for_everyone()

    def _model_file(self, stage: Stage) -> Path:
        """Return the file of a stage's latest model."""
        return self.folder / f"{stage.model}.safetensors"

    def _save_model(self, name: str, progress: Progress) -> None:
        metadata = {**self.metadata, "stage": progress.stage, "step": str(progress.step)}
        file = self.folder / f"{name}.safetensors"
        state.save_model(file, self.hybrid.segmentor, self.ema.module, metadata)
