"""Is a run that was killed 50 times the same, bit for bit, as one that nothing stopped?

    python benchmarks/kill_resume.py [--kills 50] [--seed 0]

Drawn images, networks of width 8, both stages, a checkpoint every second step. A child process
trains; it gets SIGKILL at a random moment between the start of its work and a few steps later, and
another goes on with --resume, again and again. After each kill every file of tensors in the folder
must read whole. In the end all of them, and the rows of metrics.jsonl without their times, must
equal those of a run in one piece. Children are forked, as importing torch 50 times would take
longer than the training.
"""

import argparse
import collections
import json
import multiprocessing
import random
import tempfile
import time
from pathlib import Path

import torch
from timing import machine, write

from hidiff import build, weights
from hidiff.data import SYNTHETIC_LABELS, write_synthetic
from hidiff.recipe import Recipe, make_recipe
from hidiff.training import Budget
from hidiff.training.state import find_state, read_progress

STEPS = 40  # of each stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args()
    torch.set_num_threads(1)
    build.count_flops = lambda *_: Budget(2, 3)  # what it counts is not the question here
    moments = random.Random(args.seed)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        recipe = make(Path(folder) / "data")
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        run(recipe, whole).join()
        seconds = time.monotonic() - started
        places = [kill(recipe, killed, moments, seconds / args.kills) for _ in range(args.kills)]
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
            "killed_in": dict(collections.Counter(stage for stage, _ in places)),
            "left_half_written": sum(left for _, left in places),
            "seconds_in_one_piece": round(seconds, 1),
            "seconds_in_all": round(time.monotonic() - started, 1),
            **machine(),
        }
    assert all(names.values()) and result["rows_equal"], result
    write(result, "kill_resume")


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
            "training": {**training, "save_every": 2, "validate_every": 20, "log_every": 1},
            "prediction": {"steps": 1},
        }
    )


def run(recipe: Recipe, folder: Path) -> multiprocessing.Process:
    """A process of its own that goes on with the run."""
    process = multiprocessing.get_context("fork").Process(
        target=build.train, args=(recipe, folder), kwargs={"resume": True, "cpu": True}
    )
    process.start()
    return process


def kill(recipe: Recipe, folder: Path, moments: random.Random, step: float) -> tuple[str, int]:
    """Kill a child at a random moment of its work; where the run stands, and what is half-written.

    The first moments, in which a child only reads data, are over when it writes to the folder.
    """
    before = newest(folder)
    process = run(recipe, folder)
    while newest(folder) == before and process.is_alive():
        time.sleep(0.002)
    process.join(moments.uniform(0, 2 * step))
    assert process.exitcode is None, "the run ended before it was killed often enough: raise STEPS"
    process.kill()
    process.join()
    for file in folder.glob("[!.]*.safetensors"):
        weights.load(file)  # raises if it is not whole
    found = find_state(folder)
    left = len(list(folder.glob(".*")))
    return ("nowhere", left) if found is None else (read_progress(found)[0].stage, left)


def newest(folder: Path) -> float:
    """When a file of the folder last changed."""
    return max((file.stat().st_mtime for file in folder.glob("[!.]*.jsonl")), default=0.0)


def same_files(whole: Path, killed: Path) -> dict[str, bool]:
    """Name -> whether both hold the same tensors, bit for bit."""
    found = {}
    for file in sorted(whole.glob("*.safetensors")):
        left, right = weights.load(file)[0], weights.load(killed / file.name)[0]
        found[file.name] = left.keys() == right.keys() and all(
            torch.equal(left[name], right[name]) for name in left
        )
    return found


def rows(folder: Path) -> list[dict]:
    """The rows of the run without their times."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


if __name__ == "__main__":
    main()
