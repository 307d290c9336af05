"""The smallest experiment that trains: drawn images of 64x64, networks of width 8, few steps."""

from pathlib import Path
from typing import Any

import pytest
import torch

from hidiff import experiment
from hidiff.datasets import SYNTHETIC_LABELS, write_synthetic
from hidiff.hybrid import HybridSegmentor
from hidiff.recipe import Recipe, make_recipe
from hidiff.training import Budget
from hidiff.training.stages import BASELINE, IN_TURNS, JOINT, REFINER_ONLY, STAGE1

# Counting a budget takes longer than a tiny run itself, so such runs are given this one.
COSTS = Budget({STAGE1: 2, BASELINE: 2, IN_TURNS: 3, JOINT: 3, REFINER_ONLY: 1})


def make_tiny(folder: Path, kind: str = "one_class", **changes: dict[str, Any] | int) -> Recipe:
    """A recipe on five images below `folder`; `changes` go over its groups of settings."""
    data = folder / f"tiny-{kind}"
    if not data.is_dir():
        write_synthetic(data, num_cases=5, size=64, labels=kind)
    content: dict[str, Any] = {
        "name": "tiny",
        "seed": 0,
        "data": {"path": str(data), "patch_size": [64, 64], "augmentation": "flip_rotate"},
        "labels": SYNTHETIC_LABELS[kind].model_dump(),
        "segmentor": {"options": {"width": 8}},
        "refiner": {"width": 8, "condition": "once"},
        "diffusion": {"num_steps": 4},
        "training": {"batch_size": 2, "stage1_steps": 2, "stage2_steps": 2, "log_every": 1},
    }
    for group, change in changes.items():
        content[group] = (
            {**content.get(group, {}), **change} if isinstance(change, dict) else change
        )
    return make_recipe(content)


def skip_counting(patch: pytest.MonkeyPatch) -> None:
    """Let commands, which take no budget, train on COSTS too."""
    patch.setattr(experiment.Experiment, "budget", COSTS)


def shake(hybrid: HybridSegmentor, size: float = 0.3) -> HybridSegmentor:
    """Random weights for the refiner's last layer, which starts at zero and hides the others."""
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        weight = hybrid.refiner.output.weight
        weight.copy_(size * torch.randn(weight.shape, generator=draws))
    return hybrid


def same_tensors(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Equal names, and equal bits under each."""
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)
