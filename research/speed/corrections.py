"""How long does a person wait for a correction, and what does it take in memory?

    python research/speed/corrections.py [--marks 20] [--threads 1] [--quick]
    python research/speed/corrections.py --lines 32 512 256 packed   # width, image, window, kind

Random images and weights: time depends on neither. A session starts from a mask, so its first mark
also runs the segmentor on the windows within reach; `first` is the median of first marks of fresh
sessions. `prepared` is that of sessions that were prepared while nobody waited (Session.prepare,
whose time is `preparing`). `later` are marks at random places of one whose windows have all been
seen. `prediction` is the automatic one of the whole image, as a measure: `share` is a later mark's
part of it. `cpu` is the time of the processor and `wall` that of the clock; on a busy machine only
the first says what a quiet one would take. Each setting runs in a process of its own; `--lines` are
the only ones that are measured, and replace the former ones in results/corrections.json.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hidiff import export
from hidiff.correction import CorrectionSettings, start_session
from hidiff.experiment import make_hybrid, make_predictor
from hidiff.prediction import Predictor
from hidiff.recipe import make_recipe

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine, peak_memory_mib, write

SEGMENTOR_WIDTH = 32
RADIUS = 4
# width, image side, window side
SETTINGS = [
    *((width, side, 128) for width in (16, 32, 64) for side in (256, 512, 1024)),
    (32, 512, 256),
    (32, 512, 512),
]
QUICK = [(16, 128, 64)]
KINDS = ("packed", "float")
FIRST_MARKS = 3


def make_speed_predictor(width: int, window: int, kind: str) -> Predictor:
    """Return networks of random weights that read hints."""
    recipe = make_recipe(
        {
            "name": "speed",
            "data": {"path": "unused", "patch_size": [window, window]},
            "labels": {"kind": "one_class", "classes": {"vessel": [255]}},
            "segmentor": {"options": {"width": SEGMENTOR_WIDTH}},
            "refiner": {"width": width, "hints": True},
        }
    )
    hybrid = make_hybrid(recipe).eval()
    if kind == "packed":
        last = recipe.diffusion.num_steps
        hybrid.refiner = export.pack_refiner(hybrid.refiner, [last])
    return make_predictor(hybrid, recipe)


def measure(width: int, side: int, window: int, kind: str, marks: int, threads: int) -> dict:
    """Return milliseconds and MiB of one setting."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    predictor = make_speed_predictor(width, window, kind)
    image = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    mask = np.zeros((side, side), dtype=np.uint8)
    mask[side // 4 : side // 2, side // 4 : side // 2] = 1

    def begin():
        return start_session(predictor, image, mask=mask)

    def click(session: Any) -> None:
        row, column = rng.uniform(0, side - 1, size=2).tolist()
        session.click((row, column), "vessel", radius=RADIUS)

    click(begin())  # warm up
    fresh = [begin() for _ in range(FIRST_MARKS)]
    first = [timed(partial(click, each)) for each in fresh]
    ready = [begin() for _ in range(FIRST_MARKS)]
    preparing = [timed(each.prepare) for each in ready]
    prepared = [timed(partial(click, each)) for each in ready]
    # refined, as a session that starts from a prediction is
    session = start_session(predictor, image)
    prediction = timed(lambda: session.slice_maps(0))
    later = [timed(lambda: click(session)) for _ in range(marks)]
    result = {
        "width": width,
        "image": side,
        "window": window,
        "kind": kind,
        "first_ms": summary(first),
        "preparing_ms": summary(preparing),
        "prepared_ms": summary(prepared),
        "later_ms": summary(later),
        "prediction_ms": {name: round(value) for name, value in prediction.items()},
        "peak_mib": round(peak_memory_mib()),
    }
    result["share"] = round(result["later_ms"]["cpu_median"] / prediction["cpu"], 3)
    return result


def timed(call: Callable[[], object]) -> dict[str, float]:
    """Return the milliseconds of a call, by processor and by clock."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return {
        "cpu": 1000 * (time.process_time() - cpu),
        "wall": 1000 * (time.perf_counter() - wall),
    }


def summary(times: list[dict[str, float]]) -> dict[str, float]:
    """Return the median and the 95th percentile."""
    found = {}
    for name in ("cpu", "wall"):
        values = [each[name] for each in times]
        found[f"{name}_median"] = round(statistics.median(values), 1)
        found[f"{name}_p95"] = round(float(np.percentile(values, 95)), 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--marks", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a small size; nothing is kept")
    parser.add_argument(
        "--lines", nargs=4, action="append", metavar=("W", "IMAGE", "WINDOW", "KIND")
    )
    args = parser.parse_args()
    settings = [(*each, kind) for kind in KINDS for each in (QUICK if args.quick else SETTINGS)]
    if args.lines:
        settings = [(*map(int, line[:3]), line[3]) for line in args.lines]
    torch.set_num_threads(args.threads)
    for setting in settings:
        # a process of its own, whose peak of memory is this setting's alone
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            measured = pool.apply(measure, (*setting, args.marks, args.threads))
        if args.quick:
            print(json.dumps(measured, indent=2))
        else:
            keep(measured, args.marks)  # after each, as the large ones take long


def keep(measured: dict, marks: int) -> None:
    """Write one measurement into the results, in the order of SETTINGS."""
    path = Path(__file__).parent / "results" / "corrections.json"
    former = json.loads(path.read_text())["measured"] if path.is_file() else []

    def setting_of(row: dict) -> tuple:
        return (*(row[name] for name in ("width", "image", "window")), row["kind"])

    order = [(*each, kind) for kind in KINDS for each in SETTINGS]
    rows = {setting_of(row): row for row in (*former, {**measured, "marks": marks})}
    result = {
        "machine": machine(),
        "reach_px": CorrectionSettings().reach_px,
        "measured": [rows[each] for each in order if each in rows],
    }
    write(result, __file__, "corrections")


if __name__ == "__main__":
    main()
