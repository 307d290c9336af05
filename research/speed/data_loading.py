"""Is decoding the bottleneck? Patches a second from files, disk and memory, and a step's need.

    python research/speed/data_loading.py [RECIPE ...] [--patches 200] [--cases 8] [--rounds 3]

One process loads, as with training.workers 0; each worker adds about as much again. `files` decodes
an image for every patch (the system may hold the file itself in memory), `disk` maps arrays that
were written before, `memory` holds them. A need below the supply is no bottleneck. $HIDIFF_DATA is
the folder that holds the recipes' data sets.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import torch
from accelerate import Accelerator

from hidiff import experiment
from hidiff.cli.recipes import find_recipe
from hidiff.experiment.cases import reading_of
from hidiff.loading import (
    LoadedCases,
    TrainingPatches,
    collate,
)
from hidiff.loading.cache import CACHE_VARIABLE, Cache
from hidiff.loading.transforms import training_transform
from hidiff.recipe import Recipe, read_recipe
from hidiff.training import Batch, Budget, Trainer
from hidiff.training.stages import IN_TURNS

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import in_turn, machine, write

CACHES: dict[str, Cache] = {"files": False, "disk": "disk", "memory": True}


def patches_of(recipe: Recipe, cache: Cache, num_cases: int) -> TrainingPatches:
    """The training patches of a recipe's first cases."""
    data, labels = recipe.data, recipe.labels
    cases = experiment.list_cases(recipe, "train")[:num_cases]
    loaded = LoadedCases(cases, reading_of(recipe), cache)
    share = data.foreground_share
    transform = training_transform(data.patch_size, data.augmentations, share, labels)
    return TrainingPatches(loaded, transform, recipe.seed, share)


def keys(patches: TrainingPatches, count: int) -> list[tuple[int, int]]:
    """(epoch, item): spread over all items."""
    stride = max(1, len(patches) // count)
    return [(0, number * stride % len(patches)) for number in range(count)]


def step_seconds(recipe: Recipe, patches: TrainingPatches, rounds: int) -> float:
    """One training iteration in turns, without loading."""
    items = collate([patches[key] for key in keys(patches, recipe.training.batch_size)])
    image = items["image"].contiguous(memory_format=torch.channels_last)
    batch = Batch(items["name"], image, items["y0"], items["field_of_view"])
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            experiment.make_hybrid(recipe),
            lambda stage, step: iter([]),
            recipe.training,
            Budget({IN_TURNS: 1}),  # nothing is counted here
            Path(folder),
            0,
            {},
            Accelerator(cpu=True),
        )
        trainer.hybrid.train()
        trainer.prepare(IN_TURNS)
        step = {"step": lambda: trainer.step(IN_TURNS, 0, iter([batch]))}
        return in_turn(step, rounds)["step"]


def measure(recipe: Recipe, args: argparse.Namespace) -> dict[str, object]:
    """Supply and need of one recipe."""
    made = {name: patches_of(recipe, cache, args.cases) for name, cache in CACHES.items()}
    wanted = {name: keys(patches, args.patches) for name, patches in made.items()}

    def load(name: str) -> None:
        for key in wanted[name]:
            made[name][key]

    seconds = in_turn({name: lambda name=name: load(name) for name in made}, args.rounds)
    step = step_seconds(recipe, made["memory"], args.rounds)
    supply = {name: args.patches / each for name, each in seconds.items()}
    need = recipe.training.batch_size / step
    return {
        "cases": min(args.cases, len(experiment.list_cases(recipe, "train"))),
        "patch_size": recipe.data.patch_size,
        "patches_per_second": supply,
        "step_seconds": step,
        "patches_per_second_needed": need,
        "supply_to_need": {name: each / need for name, each in supply.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", default=["drive", "acdc"])
    parser.add_argument("--patches", type=int, default=200)
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    with tempfile.TemporaryDirectory() as folder:
        os.environ[CACHE_VARIABLE] = folder
        found = {name: measure(read_recipe(find_recipe(Path(name))), args) for name in args.recipes}
    write(
        {"machine": machine(), "patches": args.patches, "recipes": found}, __file__, "data_loading"
    )


if __name__ == "__main__":
    main()
