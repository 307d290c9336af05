"""Measure the time and the labels that change if windows with a certain prior are not refined.

    HIDIFF_DATA=... python research/speed/certain.py MODEL [--split test] [--cases 5] [--label NAME]
    python research/speed/certain.py MODEL --images a.png b.nii.gz

`prediction.certain` is set to each of `--bounds`, against 0, which refines every window:

- `labels_changed_per_100000`: pixels of the image whose label differs;
- `windows_kept`: share of the windows that keep the prior;
- `time_ratio`: processor time with the bound over that without, median of the pairs, each of an
  image predicted both ways in turn;
- `largest_change`: of any probability.

The refiner runs whether it was trained or not: one that was not changes no label, and shows the
share of windows and the time alone.

Each run adds a row to results/certain.json, or replaces the row of the same label.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from hidiff import experiment
from hidiff.prediction import Prediction, Predictor

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine

RESULTS = Path(__file__).parent / "results" / "certain.json"
BOUNDS = (0.0001, 0.001, 0.01)


class WindowCount:
    """Count the windows that the segmentor sees, and those that the refiner works on."""

    def __init__(self, predictor: Predictor):
        hybrid = predictor.hybrid
        self.looked = self.refined = 0
        look, prepare = hybrid.look, hybrid.prepare

        def count_look(image: torch.Tensor, *rest: object) -> object:
            self.looked += len(image)
            return look(image, *rest)

        def count_prepare(image: torch.Tensor, seen: object) -> object:
            self.refined += len(image)
            return prepare(image, seen)

        self.patches = patch.multiple(hybrid, look=count_look, prepare=count_prepare)

    def __enter__(self) -> "WindowCount":
        self.patches.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.patches.stop()


def predict(predictor: Predictor, image: Path, bound: float, changes: dict) -> tuple:
    """Return the prediction, its processor seconds and the share of windows left as they were."""
    with WindowCount(predictor) as count:
        start = time.process_time()
        found = predictor.predict(
            image, certain=bound, refine=True, keep_probability=True, **changes
        )
        seconds = time.process_time() - start
    return found, seconds, 1 - count.refined / count.looked


def largest_change(left: Prediction, right: Prediction) -> float:
    return float(np.abs(left.maps["probability"] - right.maps["probability"]).max())


def measure(predictor: Predictor, images: list[Path], bounds: list[float], changes: dict) -> dict:
    """Return the figures of each bound over all images."""
    found: dict[float, dict[str, list]] = {bound: {} for bound in bounds}
    predict(predictor, images[0], 0.0, changes)  # warm up
    for image in images:
        every, without, _ = predict(predictor, image, 0.0, changes)
        for bound in bounds:
            fewer, seconds, kept = predict(predictor, image, bound, changes)
            row = {
                "pixels": every.labels.size,
                "changed": int((every.labels != fewer.labels).sum()),
                "kept": kept,
                "ratio": seconds / without,
                "largest": largest_change(every, fewer),
            }
            for name, value in row.items():
                found[bound].setdefault(name, []).append(value)
            print(image.name, bound, row, flush=True)
    return {
        str(bound): {
            "labels_changed_per_100000": round(1e5 * sum(each["changed"]) / sum(each["pixels"]), 3),
            "windows_kept": round(statistics.mean(each["kept"]), 3),
            "time_ratio": round(statistics.median(each["ratio"]), 3),
            "largest_change": round(max(each["largest"]), 4),
        }
        for bound, each in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--images", nargs="+", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--cases", type=int, default=None)
    parser.add_argument("--bounds", nargs="+", type=float, default=list(BOUNDS))
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--window", type=int, help="side of the sliding window")
    parser.add_argument("--label", help="name of the row; the model's if left out")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    predictor = experiment.load_predictor(args.model)
    recipe = experiment.load_recipe(args.model)
    images = args.images
    if images is None:
        cases = experiment.list_cases(recipe, args.split)[: args.cases]
        images = [Path(str(case.image)) for case in cases]
    changes: dict[str, object] = {"samples": args.samples, "steps": args.steps}
    if args.window:
        changes["window_size"] = (args.window, args.window)
    row = {
        "label": args.label or recipe.name,
        "images": len(images),
        "samples": args.samples,
        "window": args.window or list(recipe.data.patch_size),
        "machine": machine(),
        "bounds": measure(predictor, images, args.bounds, changes),
    }
    rows = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
    rows = [other for other in rows if other["label"] != row["label"]]
    RESULTS.write_text(json.dumps([*rows, row], indent=1) + "\n", encoding="utf-8")
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
