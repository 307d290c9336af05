"""The work of each process of test_two_processes: short trainings, with batch norm and without.

    python -m torch.distributed.run --nproc_per_node 2 -m tests.training.two_processes FOLDER HOW

HOW is "train", or how the second process ends at its second step: "raise" or "kill". To
FOLDER/rank0.safetensors and rank1.safetensors goes what each holds after the training with it.
"""

import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from hidiff import weights
from hidiff.experiment import Experiment, prepare_training
from hidiff.recipe import Recipe
from hidiff.training import Trainer
from hidiff.training.stages import Stage
from tests.tiny import COSTS, make_tiny

OWN_ERROR = "the second process has lost its images"


def make_recipe(folder: Path) -> Recipe:
    """Four patches a step, over all processes; 1-bit layers would turn rounding into flips."""
    training = {"batch_size": 4, "stage1_steps": 2, "stage2_steps": 3}
    return make_tiny(folder, refiner={"precision": "real"}, training=training)


def without_batch_norm(module: nn.Module) -> nn.Module:
    """In place: batch norm sees its own process's patches only, so it could not be the same."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(module, name, nn.Identity())
        else:
            without_batch_norm(child)
    return module


def make_trainer(folder: Path, run: Path, batch_norm: bool = False) -> Trainer:
    """Return the trainer of this process."""
    experiment = Experiment(make_recipe(folder), run, cpu=True, budget=COSTS)
    if not batch_norm:
        without_batch_norm(experiment.hybrid)
    return prepare_training(experiment, validate=False)


def main() -> None:
    torch.set_num_threads(1)
    folder, how = Path(sys.argv[1]), sys.argv[2]
    trainer = make_trainer(folder, folder / "two")
    step = trainer.step

    def mortal_step(stage: Stage, number: int, batches):
        if how != "train" and trainer.accelerator.process_index == 1 and number == 1:
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError(OWN_ERROR)
        return step(stage, number, batches)

    trainer.step = mortal_step
    trainer.run()
    write_weights(folder, make_trainer(folder, folder / "normed", batch_norm=True))
    torch.distributed.destroy_process_group()


def write_weights(folder: Path, trainer: Trainer) -> None:
    """Train, and write what this process holds then."""
    trainer.run()
    networks = {"segmentor": trainer.hybrid.segmentor, "refiner": trainer.hybrid.refiner}
    tensors = {
        f"{name}.{key}": value
        for name, network in networks.items()
        for key, value in network.named_parameters()
    }
    rank = trainer.accelerator.process_index
    weights.save(folder / f"rank{rank}.safetensors", tensors, {"silent": str(trainer.log.silent)})


if __name__ == "__main__":
    main()
