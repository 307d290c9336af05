"""How much memory does the prediction of a volume take, at the most?

    python research/reliability/volume_memory.py [--shape 512 512 300] [--classes 1 9]

A drawn CT (noise, int16, NIfTI), an untrained model of width 16, 2 steps. Labels are written as
NIfTI; of several classes the probabilities too, which lie on the disk until then. The peak is that
of a process of its own: pages of mapped files that happen to be in memory count.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from hidiff import experiment
from hidiff.prediction.writers import write_prediction
from hidiff.recipe import make_recipe

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine, peak_memory_mib, write

LIMITS_GIB = {1: 4, 9: 6}  # by number of classes
WINDOW = (256, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300))
    parser.add_argument("--classes", type=int, nargs="+", default=list(LIMITS_GIB))
    parser.add_argument("--overlap", type=float, default=0.25, help="of windows: time, not memory")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        image = draw_volume(Path(folder) / "ct.nii.gz", tuple(args.shape))
        for classes in args.classes:
            context = multiprocessing.get_context("spawn")
            with context.Pool(1) as pool:
                row = pool.apply(
                    predict, (image, Path(folder) / str(classes), classes, args.overlap)
                )
            rows.append({"shape": list(args.shape), **row, "limit_gib": LIMITS_GIB.get(classes)})
            print(json.dumps(rows[-1]))
    question = "the most memory that the prediction of a volume takes"
    write({"question": question, "rows": rows, **machine()}, __file__, "volume_memory")


def draw_volume(path: Path, shape: tuple[int, ...]) -> Path:
    """Noise of the width of soft tissue, written slice by slice."""
    draws = np.random.default_rng(0)
    values = np.empty(shape, dtype=np.int16)
    for z in range(shape[2]):
        values[:, :, z] = draws.normal(40, 60, shape[:2])
    nib.save(nib.Nifti1Image(values, np.diag([-0.8, -0.8, 1.5, 1.0])), path)
    return path


def predict(image: Path, output: Path, classes: int, overlap: float) -> dict:
    """In a process of its own: what it took."""
    torch.manual_seed(0)
    kind = "one_class" if classes == 1 else "exclusive"
    recipe = make_recipe(
        {
            "name": "memory",
            "data": {
                "path": "none",
                "channels": 1,
                "intensity": {"kind": "window", "window": [-160, 240]},
                "patch_size": WINDOW,
            },
            "labels": {"kind": kind, "classes": {f"c{i}": [i + 1] for i in range(classes)}},
            "segmentor": {"options": {"width": 16}},
            "refiner": {"width": 16},
        }
    )
    predictor = experiment.make_predictor(experiment.make_hybrid(recipe), recipe)
    before, started = peak_memory_mib(), time.monotonic()
    output.mkdir()
    prediction = predictor.predict(
        image, steps=2, overlap=overlap, keep_probability=classes > 1, scratch=output
    )
    write_prediction(prediction, output, stem="ct")
    return {
        "classes": classes,
        "overlap": overlap,
        "peak_gib": round(peak_memory_mib() / 1024, 2),
        "before_gib": round(before / 1024, 2),
        "seconds": round(time.monotonic() - started, 1),
    }


if __name__ == "__main__":
    main()
