"""Is a run that was killed 50 times the same, bit for bit, as one that nothing stopped?

    python research/reliability/kill_resume.py [--kills 50] [--seed 0]

Drawn images, networks of width 8, both stages, a checkpoint every second step, a validation every
fifth. The moments are drawn evenly from the time that a run in one piece takes, so that they fall
where the time goes: a child process trains with --resume until it has come so far, gets SIGKILL,
and the next one goes on. After each kill every file of tensors in the folder must read whole. In
the end all of them, and the rows of metrics.jsonl without their times, must equal those of the run
in one piece. Children are forked, as importing torch 50 times would take longer than the training.
"""

import argparse
import collections
import ctypes
import functools
import json
import multiprocessing
import random
import sys
import tempfile
import time
from pathlib import Path

import torch

from hidiff import experiment, weights
from hidiff.datasets import SYNTHETIC_LABELS, write_synthetic
from hidiff.recipe import Recipe, make_recipe
from hidiff.training import Budget, Trainer
from hidiff.training.stages import IN_TURNS, STAGE1, Stage

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine, write

STEPS = 40  # of each stage
STAGES = (STAGE1.name, IN_TURNS.name)
BUDGET = Budget({STAGE1: 2, IN_TURNS: 3})  # counting takes longer than the run
FORK = multiprocessing.get_context("fork")
# What a child is at: shared with it, as a killed one cannot tell any more
DOING = (
    "before the first step",
    "between them",
    *(f"{stage} {what}" for stage in STAGES for what in ("step", "validation", "checkpoint")),
)
doing = FORK.RawValue(ctypes.c_int)
steps_done = FORK.RawValue(ctypes.c_int)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for method, what in (("step", "step"), ("_validate", "validation"), ("_save", "checkpoint")):
        setattr(Trainer, method, watched(getattr(Trainer, method), what))
    draws, started = random.Random(args.seed), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        recipe = make(Path(folder) / "data")
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        run(recipe, whole).join()
        seconds = time.monotonic() - started
        ends = [row["seconds"] for row in rows(whole, times=True) if row["kind"] == "train"]
        # not in the last moments, in which a child may be faster than the run in one piece was
        moments = sorted(draws.uniform(0, 0.97 * ends[-1]) for _ in range(args.kills))
        places = [kill(recipe, killed, moment, ends) for moment in moments]
        last = run(recipe, killed)
        last.join()
        assert last.exitcode == 0, last.exitcode
        names = same_files(whole, killed)
        result = {
            "question": "killed and resumed = uninterrupted, bit for bit",
            "kills": args.kills,
            "steps": 2 * STEPS,
            "equal": names,
            "rows_equal": rows(whole) == rows(killed),
            "killed_in": dict(
                sorted(collections.Counter(DOING[each] for each, _ in places).items())
            ),
            "left_half_written": sum(left for _, left in places),
            "seconds_in_one_piece": round(seconds, 1),
            "seconds_in_all": round(time.monotonic() - started, 1),
            **machine(),
        }
    assert all(names.values()) and result["rows_equal"], result
    write(result, __file__, "kill_resume")


def make(data: Path) -> Recipe:
    """A short run with everything in it: both stages, both networks, validation."""
    write_synthetic(data, num_cases=5, size=64)
    training = {"batch_size": 2, "stage1_steps": STEPS, "stage2_steps": STEPS}
    return make_recipe(
        {
            "name": "killed",
            "data": {"path": str(data), "patch_size": [64, 64], "augmentation": "retina"},
            "labels": SYNTHETIC_LABELS["one_class"].model_dump(),
            "segmentor": {"options": {"width": 8}},
            "refiner": {"width": 8, "condition": "once"},
            "diffusion": {"num_steps": 4},
            "training": {**training, "save_every": 2, "validate_every": 5, "log_every": 1},
            "prediction": {"steps": 1},
        }
    )


def watched(method, what: str):
    """A method of Trainer that says while it runs what the run is at."""

    @functools.wraps(method)
    def call(trainer: Trainer, stage: Stage, *rest):
        doing.value = DOING.index(f"{stage.name} {what}")
        found = method(trainer, stage, *rest)
        doing.value = DOING.index("between them")
        if what == "step":
            steps_done.value = 1 + rest[0] + (STEPS if stage is IN_TURNS else 0)
        return found

    return call


def run(recipe: Recipe, folder: Path) -> multiprocessing.Process:
    """A process of its own that goes on with the run."""
    doing.value, steps_done.value = DOING.index("before the first step"), 0
    process = FORK.Process(
        target=experiment.train,
        args=(recipe, folder),
        kwargs={"resume": True, "cpu": True, "budget": BUDGET},
    )
    process.start()
    return process


def kill(recipe: Recipe, folder: Path, moment: float, ends: list[float]) -> tuple[int, int]:
    """Kill a child when it has come as far as the run in one piece had at this moment.

    What it was at, and how many half-written files it has left. `ends`: when each step ended.
    """
    process = run(recipe, folder)
    before = [end for end in ends if end <= moment]
    while steps_done.value < len(before) and process.is_alive():
        time.sleep(0.001)
    process.join(moment - (before[-1] if before else 0))
    assert process.exitcode is None, "the run ended before it was killed: raise STEPS"
    process.kill()
    process.join()
    for file in folder.glob("[!.]*.safetensors"):
        weights.load(file)  # raises if it is not whole
    return doing.value, len(list(folder.glob(".*")))


def same_files(whole: Path, killed: Path) -> dict[str, bool]:
    """Name -> whether both hold the same tensors, bit for bit."""
    found = {}
    for file in sorted(whole.glob("*.safetensors")):
        left, right = weights.load(file)[0], weights.load(killed / file.name)[0]
        found[file.name] = left.keys() == right.keys() and all(
            torch.equal(left[name], right[name]) for name in left
        )
    return found


def rows(folder: Path, times: bool = False) -> list[dict]:
    """The rows of the run, without their times if not asked for."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if times or k != "seconds"} for row in found]


if __name__ == "__main__":
    main()
