"""The training loop: stage 1, then in turns (or jointly, or the baseline, or the refiner alone),
with checkpoints and validation."""

import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hidiff import seeding
from hidiff.hybrid import HybridSegmentor
from hidiff.training import state
from hidiff.training.budget import Budget
from hidiff.training.conditions import KEY, conditions, differences
from hidiff.training.ema import EMA
from hidiff.training.log import RunLog
from hidiff.training.settings import TrainingSettings
from hidiff.training.state import STATE_FILE, UNREADABLE_STATE_FILE, Progress
from hidiff.training.steps import (
    Batch,
    draw_noise,
    joint_step,
    look_frozen,
    refiner_step,
    segmentor_only_step,
    segmentor_step,
)

if TYPE_CHECKING:  # a checkpoint is loaded through this package, and needs no Accelerate
    import accelerate

STAGE1, IN_TURNS, BASELINE = "stage1", "in_turns", "segmentor_only"
JOINT = "joint"  # in one step, in place of in turns
REFINER_ONLY = "refiner_only"  # the segmentor is frozen
REFINING = (IN_TURNS, JOINT, REFINER_ONLY)  # the stages that leave a trained refiner

MODEL_FILES = tuple(f"{name}.safetensors" for name in ("stage1", "stage1_best", "last", "best"))

# (stage, first step, parts of a batch) -> batches without end, each part on the CPU
Batches = Callable[[str, int], Iterator[Batch]]
# (hybrid in eval mode, is there a refiner to judge?) -> numbers, "score" the one to be best at
Validate = Callable[[HybridSegmentor, bool], dict[str, float]]


class NotFiniteError(RuntimeError):
    """A loss or gradient is NaN or infinite; the message names step, cases and what is safe."""


class Trainer:
    """Trains a hybrid and leaves its checkpoints in a folder.

    `batches(stage, step)` gives that stage's batches from that step on, in parts of
    `batch_size / (accumulation * processes)`. `metadata` (the recipe) goes into each checkpoint.
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
        self.last_good: Path | None = None
        self.resumed_from: Path | None = None

    @property
    def stages(self) -> dict[str, int]:
        """The stages of this run and their steps, fixed before it starts."""
        if self.settings.segmentor == "frozen":
            return {REFINER_ONLY: self.settings.stage2_steps} if self.settings.stage2_steps else {}
        stages = {STAGE1: self.settings.stage1_steps}
        if self.settings.arm == "hybrid":
            joint = self.settings.segmentor == "joint"
            stages[JOINT if joint else IN_TURNS] = self.settings.stage2_steps
        else:
            stages[BASELINE] = self.budget.equal_steps(
                self.settings.stage2_steps, self.settings.refiner_warmup
            )
        return {stage: steps for stage, steps in stages.items() if steps}

    def flops(self, stage: str) -> int:
        """What a stage of this run costs."""
        return self.budget.total(stage, self.stages[stage], self._warmup(stage))

    def run(self, resume: bool = False) -> Path:
        """Train all stages, from where the state file stands if `resume`; returns the last model.

        Raises NotFiniteError for a loss or gradient that is NaN or infinite.
        """
        names = list(self.stages)
        if not names:
            raise ValueError(
                "there is no step to train: raise training.stage1_steps or training.stage2_steps "
                "(stage 1 is left out where the segmentor comes trained)."
            )
        progress = self._find_progress(names) if resume else None
        self._check_together(names, progress)
        self._set_aside_unreadable()
        self.log = RunLog(self.folder, progress, silent=not self.accelerator.is_main_process)
        first = names.index(progress.stage) if progress else 0
        try:
            for stage in names[first:]:
                self._run_stage(stage, progress)
                progress = None
        finally:
            self.log.close()
        return self._model_file(names[-1])

    def _find_progress(self, stages: list[str]) -> Progress | None:
        """Where the run to go on with stands; warns of what could make it go another way."""
        found = state.find_state(self.folder)
        if found is None:
            return None
        progress, metadata = state.read_progress(found)
        if progress.stage not in stages:
            raise ValueError(
                f"the run in {self.folder} stands in stage {progress.stage}, but this recipe's "
                f"stages are {', '.join(stages)}. Resume with the recipe that it was begun "
                "with, or train into a new folder."
            )
        changed = differences(metadata, self._conditions())
        if changed and self.accelerator.is_main_process:
            warnings.warn(
                f"{'; '.join(changed)}. The run goes on, but not bit for bit as it would have.",
                stacklevel=3,
            )
        self.last_good = self._model_file(progress.stage)
        self.resumed_from = found
        return progress

    def _check_together(self, stages: list[str], progress: Progress | None) -> None:
        """Raise ValueError unless all processes found the run at the same place."""
        place = (stages.index(progress.stage), progress.step) if progress else (-1, 0)
        mine = torch.tensor([place], device=self.accelerator.device)
        places = self.accelerator.gather(mine)
        assert isinstance(places, Tensor)
        if (places != places[0]).any():
            raise ValueError(
                f"the processes found the run in {self.folder} at different steps. All machines "
                "must see one folder, on a disk that they share."
            )

    def _conditions(self) -> dict[str, str]:
        return conditions(
            workers=self.settings.workers,
            processes=self.accelerator.num_processes,
            device=self.accelerator.device.type,
        )

    def _set_aside_unreadable(self) -> None:
        """Keep a state that was passed over, under another name."""
        if not self.accelerator.is_main_process:
            return
        state_file = self.folder / STATE_FILE
        if self.resumed_from not in (None, state_file) and state_file.is_file():
            # else the next checkpoint would move it over the one that reads
            state_file.replace(self.folder / UNREADABLE_STATE_FILE)

    def _run_stage(self, stage: str, resumed: Progress | None) -> None:
        total = self.stages[stage]
        self.hybrid.refiner.train()
        self.prepare(stage)
        progress = resumed or Progress(stage, 0)
        if resumed:
            assert self.resumed_from
            state.load_state(self.resumed_from, self._networks(), self.optimizers)
            self.ema.num_updates = resumed.ema_updates
        else:
            self.log.row("plan", stage, 0, steps=total, flops=self.flops(stage))
        self.log.begin(stage, progress.step, total)
        batches = self.batches(stage, progress.step)
        while progress.step < total:
            self._set_rates(stage, progress.step, total)
            losses = self.step(stage, progress.step, batches)
            progress.step += 1
            logged = progress.step % self.settings.log_every == 0 or progress.step == total
            numbers = {name: value.item() for name, value in losses.items()} if logged else {}
            if logged:
                self.log.row("train", stage, progress.step, **numbers)
            self.log.advance(numbers)
            ended = progress.step == total
            if self.validate and (ended or progress.step % self.settings.validate_every == 0):
                self._validate(stage, progress)
            if ended or progress.step % self.settings.save_every == 0:
                self._save(stage, progress)

    def prepare(self, stage: str) -> None:
        """Networks as Accelerate wraps them, and fresh optimizers, for one stage."""
        kind = torch.optim.AdamW
        decay = self.settings.weight_decay
        self.optimizers = {}
        if stage != REFINER_ONLY:
            self.segmentor, self.optimizers["segmentor"] = self.accelerator.prepare(
                self.hybrid.segmentor, kind(self.hybrid.segmentor.parameters(), weight_decay=decay)
            )
        if stage in REFINING:
            self.refiner, self.optimizers["refiner"] = self.accelerator.prepare(
                self.hybrid.refiner, kind(self.hybrid.refiner.parameters(), weight_decay=decay)
            )

    def step(self, stage: str, step: int, batches: Iterator[Batch]) -> dict[str, Tensor]:
        """One step on one batch, in its parts; the optimizers have moved after it."""
        # whatever draws in a network (dropout) draws the same after a resume
        seeding.seed_libraries(
            seeding.derive(self.seed, stage, step, self.accelerator.process_index)
        )
        reported: dict[str, Tensor] = {}
        for part in range(self.settings.accumulation):
            batch = next(batches)
            last = part == self.settings.accumulation - 1
            for networks, losses in self._halves(stage, batch, step, part):
                loss = losses.pop("loss")
                self._check_finite("the loss is", loss, batch, stage, step)
                self.accelerator.backward(loss / self.settings.accumulation)
                if last:
                    # with several parts, the segmentor's half of the earlier ones has gone
                    # through the refiner as it was before this step
                    for network in networks:
                        self._move(network, batch, stage, step)
                self._report(losses, reported)
        return reported

    def _halves(
        self, stage: str, batch: Batch, step: int, part: int
    ) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
        """The networks that move, and the losses that move them, one after the other: the second
        half sees the refiner as the first one left it."""
        given = self.settings.loss, self.settings.diffusion_weight
        alone = stage == REFINER_ONLY or step < self._warmup(stage)  # is the refiner?
        with self.accelerator.autocast():
            if alone:
                look = look_frozen(self.hybrid, batch.image)
            else:
                self.hybrid.segmentor.train()
                look = self.hybrid.look(batch.image, self.segmentor)
        if stage == JOINT and not alone:
            draws = self._draws(batch, "refiner", step, part)
            with self.accelerator.autocast():
                losses = joint_step(self.hybrid, self.refiner, look, batch, draws, *given)
            yield ("refiner", "segmentor"), losses
            return
        if stage in REFINING:
            draws = self._draws(batch, "refiner", step, part)
            with self.accelerator.autocast():
                losses = refiner_step(self.hybrid, self.refiner, look, batch, draws, given[0])
            yield ("refiner",), losses
        if alone:
            return
        with self.accelerator.autocast():
            if stage == IN_TURNS:
                draws = self._draws(batch, "segmentor", step, part)
                losses = segmentor_step(self.hybrid, look, batch, draws, *given)
            else:
                losses = segmentor_only_step(self.hybrid, look, batch)
        yield ("segmentor",), losses

    def _report(self, losses: dict[str, Tensor], reported: dict[str, Tensor]) -> None:
        """Add the losses' share of this part."""
        for name, value in losses.items():
            share = value.detach() / self.settings.accumulation
            reported[name] = reported[name] + share if name in reported else share

    def _draws(self, batch: Batch, half: str, step: int, part: int) -> tuple[Tensor, Tensor]:
        return draw_noise(
            batch, self.hybrid.schedule.num_steps, self.seed, half, step, part,
            rank=self.accelerator.process_index, world=self.accelerator.num_processes,
            last_step_share=self.settings.last_step_share,
        )  # fmt: skip

    def _move(self, name: str, batch: Batch, stage: str, step: int) -> None:
        network = self.refiner if name == "refiner" else self.segmentor
        norm = self.accelerator.clip_grad_norm_(network.parameters(), self.settings.clip_norm)
        # else the weights become NaN now, and a checkpoint may be written before the loss shows it
        self._check_finite(f"the norm of the {name}'s gradient is", norm, batch, stage, step)
        self.optimizers[name].step()
        self.optimizers[name].zero_grad()
        if name == "refiner":
            self.ema.update(self.hybrid.refiner)

    def _check_finite(
        self, what: str, value: Tensor | None, batch: Batch, stage: str, step: int
    ) -> None:
        if value is not None and not math.isfinite(value.item()):
            raise NotFiniteError(
                f"{what} {value.item()} at step {step + 1} of {stage}, on the cases "
                f"{', '.join(batch.names)}. "
                + (f"The last good checkpoint is {self.last_good}. " if self.last_good else "")
                + "Look at these images and masks, or lower the learning rate."
            )

    def _warmup(self, stage: str) -> int:
        """The first steps of a stage of both networks that train the refiner alone."""
        return self.settings.refiner_warmup if stage in (IN_TURNS, JOINT) else 0

    def _set_rates(self, stage: str, step: int, total: int) -> None:
        """A network's rate falls from its first step to the stage's last."""
        for name, optimizer in self.optimizers.items():
            rate, first = self.settings.refiner_rate, 0
            if name == "segmentor":
                rates = self.settings.stage1_rate, self.settings.segmentor_rate
                rate, first = rates[stage != STAGE1], self._warmup(stage)
            done = max(step - first, 0) / (total - first)
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 - done) ** self.settings.decay_power

    def _validate(self, stage: str, progress: Progress) -> None:
        assert self.validate is not None
        if self.accelerator.is_main_process:
            mode = self.hybrid.segmentor.training
            hybrid = self.predicting().eval()
            numbers = self.validate(hybrid, stage in REFINING)
            hybrid.segmentor.train(mode)
            self.log.row("validation", stage, progress.step, **numbers)
            shown = "  ".join(f"{name} {value:.4f}" for name, value in numbers.items())
            self.log.say(f"{stage} step {progress.step}: {shown}")
            if progress.best is None or numbers["score"] > progress.best:
                progress.best = numbers["score"]
                name = "best" if stage != STAGE1 else "stage1_best"
                self._save_model(self.folder / f"{name}.safetensors", stage, progress)
        self.accelerator.wait_for_everyone()

    def predicting(self) -> HybridSegmentor:
        """The hybrid as prediction uses it: the live segmentor and the EMA refiner."""
        return HybridSegmentor(
            self.hybrid.segmentor, self.ema.module, self.hybrid.labels, self.hybrid.settings
        )

    def _networks(self) -> dict[str, torch.nn.Module]:
        return {
            "segmentor": self.hybrid.segmentor,
            "refiner": self.ema.module,
            "live_refiner": self.hybrid.refiner,
        }

    def _save(self, stage: str, progress: Progress) -> None:
        if self.accelerator.is_main_process:
            progress.ema_updates = self.ema.num_updates
            progress.seconds = self.log.seconds
            # the state last: a run killed between the two does these steps again
            self._save_model(self._model_file(stage), stage, progress)
            path = self.folder / STATE_FILE
            metadata = {**self.metadata, KEY: json.dumps(self._conditions())}
            state.save_state(path, progress, self._networks(), self.optimizers, metadata)
        self.last_good = self._model_file(stage)
        self.accelerator.wait_for_everyone()

    def _model_file(self, stage: str) -> Path:
        """The latest model of a stage."""
        return self.folder / f"{'stage1' if stage == STAGE1 else 'last'}.safetensors"

    def _save_model(self, path: Path, stage: str, progress: Progress) -> None:
        metadata = {**self.metadata, "stage": stage, "step": str(progress.step)}
        state.save_model(path, self.hybrid.segmentor, self.ema.module, metadata)
