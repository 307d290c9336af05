"""Does a refined mask cost little more than the mask that it refines?

    python research/speed/end_to_end.py [--models vessels made] [--pairs 15] [--label LABEL]

A whole prediction (windows, segmentor, refiner, blending, labels) of an image in memory, on one
thread, by processor time. `vessels` is the shipped model on an image of its size, `made` a packed
refiner of width 16 with random weights on one window of 256x256. In turn, in one process:

- `refined`: the packed prediction, in each segmentor runtime that is installed;
- `unrefined`: the segmentor's own mask, in the same runtime.

Ratios are medians over pairs of neighbours in time, so that a busy machine slows both alike:
`refined_over_unrefined` in one runtime (target 1.5), and `refined_over_torch_unrefined` (target 1).
`labels_equal` is the share of refined labels that equal torch's. `by_part` are milliseconds of the
refined prediction, from a profile. Each run adds a row a model to results/end_to_end.json, or
replaces the row of the same label.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from hidiff import experiment, export
from hidiff.experiment import make_hybrid, make_predictor
from hidiff.prediction import Predictor

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.speed.packed import Stopwatch, make, packed_of
from research.timing import machine

RESULTS = Path(__file__).parent / "results" / "end_to_end.json"
MADE_SIDE = 256
VESSELS_SIZE = (480, 500)
TARGETS = {"refined_over_unrefined": 1.5, "refined_over_torch_unrefined": 1.0}


def load_vessels(runtime: str) -> Predictor:
    """Return the shipped model of vessels."""
    return experiment.load_predictor("vessels", segmentor_runtime=runtime)


def load_made(runtime: str) -> Predictor:
    """Return a packed refiner of width 16, of random weights."""
    torch.manual_seed(0)
    recipe = make(16, MADE_SIDE, "once")
    hybrid = packed_of(make_hybrid(recipe).eval())
    predictor = make_predictor(hybrid, recipe)
    size = (MADE_SIDE, MADE_SIDE)
    hybrid.segmentor = export.export_segmentor(hybrid.segmentor, size, runtime)
    return predictor


MODELS: dict[str, tuple[Callable[[str], Predictor], tuple[int, int]]] = {
    "vessels": (load_vessels, VESSELS_SIZE),
    "made": (load_made, (MADE_SIDE, MADE_SIDE)),
}


def load_all(load: Callable[[str], Predictor]) -> dict[str, Predictor]:
    """Return the model in each runtime that is installed."""
    found = {}
    for runtime in (export.TORCH, *export.RUNTIMES):
        try:
            found[runtime] = load(runtime)
        except ValueError as error:
            print(f"{runtime}: left out, {error}")
    return found


def seconds_in_turn(things: dict[str, Callable[[], object]], pairs: int) -> list[dict[str, float]]:
    """Return the processor seconds of each thing, turn by turn, after one to warm up."""
    turns = []
    for _ in range(pairs + 1):
        turn = {}
        for name, thing in things.items():
            start = time.process_time()
            thing()
            turn[name] = time.process_time() - start
        turns.append(turn)
    return turns[1:]


def ratio(turns: list[dict[str, float]], above: str, below: str) -> float:
    """Return the median ratio of two things over all turns."""
    return round(statistics.median(turn[above] / turn[below] for turn in turns), 3)


def draw_image(size: tuple[int, int]) -> np.ndarray:
    """Return a picture of smooth noise, of which no window is certain."""
    noise = np.random.default_rng(0).normal(size=(3, size[0] // 8 + 1, size[1] // 8 + 1))
    smooth = torch.nn.functional.interpolate(torch.from_numpy(noise)[None], scale_factor=8)
    values = smooth[0, :, : size[0], : size[1]].permute(1, 2, 0).numpy()
    return np.clip(128 + 50 * values, 0, 255).astype(np.uint8)


def by_part(predictor: Predictor, image: np.ndarray) -> dict[str, float]:
    """Return the milliseconds of each part of one refined prediction."""
    with Stopwatch(predictor.hybrid, time.process_time) as watch:
        start = time.process_time()
        predictor.predict(image, name="image")
        whole = time.process_time() - start
    parts = {name: 1e3 * each for name, each in watch.seconds.items()}
    inside = sum(each for name, each in parts.items() if not name.startswith("of which"))
    parts["rest"] = 1e3 * whole - inside
    return {name: round(each, 1) for name, each in parts.items()}


def measure(name: str, pairs: int) -> dict[str, object]:
    """Return the figures of one model."""
    load, size = MODELS[name]
    predictors, image = load_all(load), draw_image(size)
    things: dict[str, Callable[[], object]] = {}
    for runtime, predictor in predictors.items():
        for what, refine in (("unrefined", False), ("refined", True)):
            things[f"{runtime} {what}"] = lambda predictor=predictor, refine=refine: (
                predictor.predict(image, name="image", refine=refine)
            )
    turns = seconds_in_turn(things, pairs)
    theirs = predictors[export.TORCH].predict(image, name="image")
    runtimes = {}
    for runtime, predictor in predictors.items():
        mine = f"{runtime} refined"
        runtimes[runtime] = {
            "refined_over_unrefined": ratio(turns, mine, f"{runtime} unrefined"),
            "refined_over_torch_unrefined": ratio(turns, mine, f"{export.TORCH} unrefined"),
            "labels_equal": float(
                (predictor.predict(image, name="image").labels == theirs.labels).mean()
            ),
            "by_part_ms": by_part(predictor, image),
        }
    smallest = {each: round(1e3 * min(turn[each] for turn in turns), 1) for each in things}
    return {"size": list(size), "smallest_ms": smallest, "runtimes": runtimes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--label", default="now")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.models:
        row = {"model": name, "label": args.label, "machine": machine(), "targets": TARGETS}
        row |= measure(name, args.pairs)
        print(json.dumps(row, indent=1), flush=True)
        rows = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
        rows = [other for other in rows if (other["model"], other["label"]) != (name, args.label)]
        RESULTS.write_text(json.dumps([*rows, row], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
