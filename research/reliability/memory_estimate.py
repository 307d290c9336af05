"""How far is the least memory that a training is told to need from what it takes?

    python research/reliability/memory_estimate.py

Each setting trains two iterations in turns in a process of its own; measured is that process's peak
less that of one that only imports. The estimate is a lower bound, so the share must be below 1;
what is missing are gradients on their way back, the convolutions' workspaces and the allocator's
waste.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from hidiff import experiment
from hidiff.datasets import write_synthetic
from hidiff.experiment import Experiment
from hidiff.recipe import Recipe, make_recipe
from hidiff.training import Budget
from hidiff.training.stages import IN_TURNS

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine, peak_memory_mib, write

SETTINGS = [
    {"width": 8, "side": 64, "batch": 2},
    {"width": 16, "side": 96, "batch": 8},
    {"width": 32, "side": 128, "batch": 8},
    {"width": 32, "side": 128, "batch": 8, "precision": "real"},
    {"width": 16, "side": 256, "batch": 8},
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", help="a setting as JSON: train it and print the peak (internal)")
    parser.add_argument("--data", type=Path)
    args = parser.parse_args()
    if args.one is not None:
        train(json.loads(args.one), args.data)
        return
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_synthetic(data, num_cases=5, size=256)
        idle = peak("null", data)
        found = []
        for setting in SETTINGS:
            run = Experiment(make(setting, data), "unused", cpu=True)
            need = experiment.estimate_memory(run).total / 2**20
            used = peak(json.dumps(setting), data) - idle
            found.append(
                {
                    **setting,
                    "estimated_mib": round(need),
                    "measured_mib": round(used),
                    "share": round(need / used, 2),
                }
            )
    write(
        {"question": "least memory, told before training", "rows": found, **machine()},
        __file__,
        "memory",
    )


def peak(setting: str, data: Path) -> float:
    """The peak of a process that trains so, in MiB."""
    words = [sys.executable, __file__, "--one", setting, "--data", str(data)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def train(setting: dict | None, data: Path) -> None:
    """Two iterations; null: only what is needed for them is imported."""
    torch.set_num_threads(1)
    if setting is not None:
        budget = Budget({IN_TURNS: 1})
        with tempfile.TemporaryDirectory() as run:
            experiment.train(
                make(setting, data), Path(run), cpu=True, validate=False, budget=budget
            )
    print(peak_memory_mib())


def make(setting: dict, data: Path) -> Recipe:
    width, side = setting["width"], setting["side"]
    precision = setting.get("precision", "binary")
    return make_recipe(
        {
            "name": "memory",
            "data": {"path": str(data), "patch_size": [side, side]},
            "labels": {"kind": "one_class", "classes": {"curve": [1]}},
            "segmentor": {"options": {"width": width}},
            "refiner": {"width": width, "precision": precision},
            "training": {"batch_size": setting["batch"], "stage1_steps": 0, "stage2_steps": 2},
        }
    )


if __name__ == "__main__":
    main()
