"""Measure the seconds and the memory of a whole test volume, packed and not.

    HIDIFF_DATA=... python research/speed/volumes.py MODEL [--cases 2] [--label NAME]

Each way (the segmentor alone, the refiner in floats, the refiner packed) predicts the same test
volumes of the model's recipe in a process of its own, on one thread, after one to warm up.
`seconds` are the processor's, for a volume; `peak_mib` is all the memory of the process, with
Python, torch, the networks and the maps of a volume. Each run adds a row to results/volumes.json,
or replaces the row of the same label.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from pathlib import Path

import torch

from hidiff import experiment, export
from hidiff.evaluation.evaluate import predict_case
from hidiff.weights import atomic_write

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine, peak_memory_mib

RESULTS = Path(__file__).parent / "results" / "volumes.json"
SEGMENTOR, FLOAT, PACKED = "segmentor alone", "refined, float", "refined, packed"


def measure(model: str, way: str, cases: int) -> dict[str, float | list[int]]:
    """Return the seconds and the memory of one way; runs in a process of its own."""
    torch.set_num_threads(1)
    predictor = experiment.load_predictor(model)
    if way == PACKED:
        hybrid, last = predictor.hybrid, experiment.load_recipe(model).diffusion.num_steps
        hybrid.refiner = export.pack_refiner(hybrid.refiner, [last])
    loaded = peak_memory_mib()
    times, shape = [], []
    listed = experiment.list_cases(experiment.load_recipe(model), "test")
    for case in [listed[0], *listed[:cases]]:
        start = time.process_time()
        found = predict_case(predictor, case, refine=way != SEGMENTOR)
        times.append(time.process_time() - start)
        shape = [max(shape[0] if shape else 0, found.labels.shape[0]), *found.labels.shape[1:]]
    return {
        "seconds": round(statistics.mean(times[1:]), 2),
        "loaded_mib": round(loaded),
        "peak_mib": round(peak_memory_mib()),
        "largest": shape,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model", help="a model, or a run's folder")
    parser.add_argument("--cases", type=int, default=2)
    parser.add_argument("--label", help="name of the row; the recipe's if left out")
    args = parser.parse_args()
    torch.set_num_threads(1)
    row = {
        "label": args.label or experiment.load_recipe(args.model).name,
        "cases": args.cases,
        "machine": machine(),
        "ways": {},
    }
    for way in (SEGMENTOR, FLOAT, PACKED):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            row["ways"][way] = pool.apply(measure, (args.model, way, args.cases))
        print(way, row["ways"][way], flush=True)
    rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []
    rows = [each for each in rows if each["label"] != row["label"]]
    with atomic_write(RESULTS) as temporary:
        temporary.write_text(json.dumps([*rows, row], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
