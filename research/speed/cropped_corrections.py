"""Compare corrections that refine a crop of a large window with those that refine all of it.

    python research/speed/cropped_corrections.py MODEL IMAGE... [--windows 256 480] [--clicks 10]

A session takes the same clicks at random places, once with crops around the reach and once without,
each undone before the next. Of the pixels within reach of a click: `labels_differ` have another
label than without crops, `labels_changed` were changed by the click without crops; both per
100,000. `time_ratio` is the median of processor time with crops over that without, in turn. Results
are written to results/cropped_corrections.json.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from hidiff import experiment
from hidiff.correction import CorrectionSettings, Session, start_session
from hidiff.prediction import Predictor, reach_crop

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine, write

RADIUS = 4
SHARES = {"cropped": reach_crop.WORTH, "whole": 0.0}  # of a window; larger crops are refined whole


def click(
    session: Session, name: str, place: tuple[float, float], share: float
) -> tuple[np.ndarray, float]:
    """Return the labels after a click, which is undone, and its processor seconds."""
    with patch.object(reach_crop, "WORTH", share):
        start = time.process_time()
        session.click(place, name, radius=RADIUS)
        seconds = time.process_time() - start
    labels = session.labels.copy()
    session.undo()
    return labels, seconds


def measure(predictor: Predictor, images: list[Path], window: int, clicks: int) -> dict:
    """Return the figures of windows of one size."""
    reach = CorrectionSettings().reach_px
    rng, name = np.random.default_rng(0), predictor.labels.class_names[0]
    counts = {"pixels": 0, "differ": 0, "changed": 0}
    ratios = []
    for image in images:
        session = start_session(predictor, image, window_size=(window, window))
        before = session.labels.copy()
        height, width = before.shape[-2:]
        click(session, name, (height / 2, width / 2), 1.0)  # warm up
        for _ in range(clicks):
            row, column = rng.uniform(0, height - 1), rng.uniform(0, width - 1)
            results = {
                key: click(session, name, (row, column), each) for key, each in SHARES.items()
            }
            (cropped, fast), (whole, slow) = results["cropped"], results["whole"]
            near = (
                ...,
                slice(max(int(row) - reach, 0), int(row) + reach + 1),
                slice(max(int(column) - reach, 0), int(column) + reach + 1),
            )
            counts["pixels"] += whole[near].size
            counts["differ"] += int((cropped != whole)[near].sum())
            counts["changed"] += int((whole != before)[near].sum())
            ratios.append(fast / slow)
    per = 1e5 / counts["pixels"]
    return {
        "window": window,
        "images": len(images),
        "clicks": clicks * len(images),
        "labels_differ": round(counts["differ"] * per, 1),
        "labels_changed": round(counts["changed"] * per, 1),
        "time_ratio": round(statistics.median(ratios), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--windows", nargs="+", type=int, default=[256, 480])
    parser.add_argument("--clicks", type=int, default=10)
    args = parser.parse_args()
    torch.set_num_threads(1)
    predictor = experiment.load_predictor(args.model)
    rows = [measure(predictor, args.images, each, args.clicks) for each in args.windows]
    result = {"machine": machine(), "model": args.model, "margin_px": reach_crop.MARGIN}
    write({**result, "measured": rows}, __file__, "cropped_corrections")


if __name__ == "__main__":
    main()
