"""Do labels depend on how an image was cut into windows, or on how many went at once?

    python research/reliability/same_answer.py runs/drive [--cases 2] [--temperature 1.0]

Predicts some images with other batch sizes, overlaps, windows and threads, and counts the pixels
whose labels are those of the first way, the model's own. Draws are tied to pixels, so what is left
is what a window shows to the network (how far it sees), and the order in which floats are added:
1-bit layers can turn the last digit of a float into a flip. The prior, which knows no draws, tells
the two apart.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

from hidiff import experiment

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import machine, write

WHOLE = (608, 608)  # a window that holds an image of DRIVE
WAYS = {
    "8 windows at once, overlap 0.25": {},
    "the same again": {},
    "1 window at once": {"windows": 1},
    "3 windows at once": {"windows": 3},
    "2 threads": {"threads": 2},
    "overlap 0.5": {"overlap": 0.5},
    "overlap 0.75": {"overlap": 0.75},
    "overlap 0.1": {"overlap": 0.1},
    "the whole image in one window": {"window_size": WHOLE},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--cases", type=int, default=2)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--temperature", type=float, help="left out: the default")
    parser.add_argument("--window", type=int, help="a side; left out: the model's own")
    args = parser.parse_args()
    predictor = experiment.load_predictor(args.model)
    cases = experiment.list_cases(experiment.load_recipe(args.model), args.split)[: args.cases]
    found = {}
    work = {"samples": args.samples, "temperature": args.temperature, "steps": args.steps}
    if args.window is not None:
        work["window_size"] = (args.window, args.window)
    for way, changes in WAYS.items():
        changes = work | changes
        torch.set_num_threads(changes.pop("threads", 1))
        start = time.perf_counter()
        found[way] = [predictor.predict(str(case.image), **changes) for case in cases]
        print(f"{way}: {time.perf_counter() - start:.0f} s", flush=True)
    first = found[next(iter(WAYS))]
    rows = [
        {
            "way": way,
            "labels": agreement(first, each, "labels"),
            "prior_labels": agreement(first, each, "prior_labels"),
            "largest_change_of_probability": max(
                float(np.abs(a.probability - b.probability).max())
                for a, b in zip(first, each, strict=True)
            ),
        }
        for way, each in found.items()
    ]
    result = {
        "question": "share of pixels whose label is that of the first way",
        "model": args.model.name,
        "cases": len(cases),
        **work,
        "window_size": (predictor.settings.model_copy(update=work).window_size or predictor.window),
        "rows": rows,
        **machine(),
    }
    name = "same_answer" if args.window is None else f"same_answer_{args.window}"
    write(result, __file__, name)


def agreement(left: list, right: list, name: str) -> float:
    """Share of equal labels, over all pixels of all images."""
    same = [
        (getattr(a, name) == getattr(b, name)).ravel() for a, b in zip(left, right, strict=True)
    ]
    return float(np.concatenate(same).mean())


if __name__ == "__main__":
    main()
