"""Do time and memory grow as they should with the image, the samples, the classes and the slices?

    python research/speed/growth.py [--series side samples classes slices] [--quick]

A packed refiner and a segmentor of random weights predict random images, on one thread: time and
memory depend on neither. Each series varies one number and keeps the others. Every window is
refined, and only the slices' series is a volume. `seconds` are the processor's, `mib` the largest
memory of the prediction beyond what the process held before.

`slope` is that of a straight line through the logarithms of the last three points: 1 means twice
as much for twice as many. The side counts as pixels. Writes results/growth.json, and the figure
docs/images/growth.png.
"""

import argparse
import ctypes
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from hidiff import export
from hidiff.experiment import make_hybrid, make_predictor
from hidiff.prediction import Predictor
from hidiff.recipe import make_recipe

RESULTS = Path(__file__).parent / "results"
WIDTH = 8
RESET_PEAK = "5"  # of /proc/self/clear_refs: the peak of memory starts again from what is held


class Series(NamedTuple):
    """One number that varies: its values, and the prediction that each makes."""

    values: tuple[int, ...]
    quick: tuple[int, ...]
    make: Callable[[int], Callable[[], object]]
    axis: str
    units: Callable[[int], int]
    """value -> what the cost should be proportional to, at most"""


def make(num_classes: int, window: int, channels: int = 1) -> Predictor:
    """Return a packed model of random weights with exclusive classes, or one class."""
    names = {f"class{number}": [number] for number in range(1, num_classes + 1)}
    recipe = make_recipe(
        {
            "name": "growth",
            "data": {"path": "unused", "patch_size": [window, window], "channels": channels},
            "labels": {"kind": "exclusive", "classes": names},
            "segmentor": {"options": {"width": WIDTH}},
            "refiner": {"width": WIDTH},
            "prediction": {"certain": 0},
        }
    )
    hybrid = make_hybrid(recipe).eval()
    hybrid.refiner = export.pack_refiner(hybrid.refiner, [recipe.diffusion.num_steps])
    return make_predictor(hybrid, recipe)


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def of_side(side: int) -> Callable[[], object]:
    predictor, image = make(1, 256), draw(side, side)
    return lambda: predictor.predict(image, name="image")


def of_samples(samples: int) -> Callable[[], object]:
    predictor, image = make(1, 256), draw(256, 256)
    return lambda: predictor.predict(image, name="image", samples=samples, steps=1)


def of_classes(num_classes: int) -> Callable[[], object]:
    predictor, image = make(num_classes, 256), draw(256, 256)
    return lambda: predictor.predict(image, name="image")


def of_slices(slices: int) -> Callable[[], object]:
    predictor, volume = make(1, 64), draw(slices, 64, 64)
    return lambda: predictor.predict(volume, name="volume", spacing_mm=(1, 1, 1))


SERIES = {
    "side": Series((256, 512, 1024, 2048, 4096), (64, 128, 256), of_side, "pixels", np.square),
    "samples": Series((1, 2, 4, 8, 16, 32), (1, 2, 4), of_samples, "samples", int),
    "classes": Series((1, 2, 4, 8, 16), (1, 2, 4), of_classes, "classes", int),
    "slices": Series((16, 32, 64, 128, 256, 512), (4, 8, 16), of_slices, "slices", int),
}


def measure(run: Callable[[], object]) -> tuple[float, float]:
    """Return the processor seconds and the MiB beyond what is held, of the least of two runs."""
    seconds, mib = [], []
    for _ in range(2):
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # give back what was freed, which would hide what is taken
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)
        held, start = memory("VmRSS"), time.process_time()
        run()
        seconds.append(time.process_time() - start)
        mib.append(memory("VmHWM") - held)
    return min(seconds), max(mib)


def memory(name: str) -> float:
    """Return a figure of /proc/self/status in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


def slope(units: list[int], costs: list[float]) -> float:
    """Return the slope of the last three points, in logarithms."""
    last = slice(-3, None)
    costs = [max(cost, 1e-9) for cost in costs]
    return round(float(np.polyfit(np.log(units[last]), np.log(costs[last]), 1)[0]), 2)


def measure_series(name: str, quick: bool) -> dict[str, object]:
    series = SERIES[name]
    rows, units = [], []
    for value in series.quick if quick else series.values:
        seconds, mib = measure(series.make(value))
        units.append(int(series.units(value)))
        rows.append({name: value, "seconds": round(seconds, 4), "mib": round(mib, 1)})
        print(name, rows[-1], flush=True)
    slopes = {cost: slope(units, [row[cost] for row in rows]) for cost in ("seconds", "mib")}
    return {"axis": series.axis, "units": units, "measured": rows, "slope": slopes}


def draw_figure(result: dict, path: Path) -> None:
    """Draw time above and memory below, a column a series, with their slopes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.5), layout="constrained")
    axes = figure.subplots(2, len(SERIES), squeeze=False)
    for column, series in enumerate(result["series"].values()):
        for row, (cost, unit) in enumerate((("seconds", "processor seconds"), ("mib", "MiB"))):
            axis = axes[row][column]
            values = [each[cost] for each in series["measured"]]
            axis.loglog(series["units"], values, "o-", color="tab:blue")
            # what growth in proportion would be, from the last point back
            first = values[-1] / series["units"][-1]
            axis.loglog(
                series["units"], [first * each for each in series["units"]], ":", color="grey"
            )
            first_and_last = [series["units"][0], series["units"][-1]]
            axis.set_xticks(first_and_last, [f"{each:,}" for each in first_and_last])
            axis.minorticks_off()
            axis.set_title(f"slope {series['slope'][cost]:.2f}", fontsize=10)
            axis.set_ylabel(unit if column == 0 else "")
            axis.set_xlabel(series["axis"] if row else "")
            axis.grid(alpha=0.3)
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", nargs="+", choices=list(SERIES), default=list(SERIES))
    parser.add_argument("--quick", action="store_true", help="small sizes; nothing is kept")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    file = RESULTS / "growth.json"
    result = {"width": WIDTH, "series": {}}
    if file.is_file() and not args.quick:
        result = json.loads(file.read_text())
    for name in args.series:
        result["series"][name] = measure_series(name, args.quick)
        if not args.quick:
            file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if not args.quick:
        draw_figure(result, Path(__file__).parents[2] / "docs" / "images" / "growth.png")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
