"""What does another runtime for the segmentor save, and does the answer stay the same?

    HIDIFF_DATA=... python research/speed/segmentor_runtimes.py runs/drive [--cases 5] [--rounds 5]

Milliseconds of the segmentor on one window of the model, in turn: torch channels-last, and each
runtime that is installed. `agreement` is the share of equal pixels among those that torch or the
runtime calls foreground, on whole images of a split: of the prior, and of the refined masks.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

from hidiff import experiment, export
from hidiff.evaluation import read_truth
from hidiff.prediction import Predictor

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research import timing
from research.reliability.packed_parity import compare


def load_all(path: str) -> tuple[dict[str, Predictor], dict[str, float]]:
    """The model in each runtime that is installed, and the seconds that each took to load."""
    found, seconds = {}, {}
    for name in (export.TORCH, *export.RUNTIMES):
        start = time.perf_counter()
        try:
            found[name] = experiment.load_predictor(path, segmentor_runtime=name)
        except ValueError as error:
            print(f"{name}: left out, {error}")
            continue
        seconds[name] = time.perf_counter() - start
    return found, seconds


def measure(found: dict[str, Predictor], rounds: int) -> dict[str, float]:
    """Milliseconds of one window."""
    channels = found[export.TORCH].hybrid.segmentor.image_channels
    image = torch.randn(1, channels, *found[export.TORCH].window)
    image = image.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        looks = {
            name: lambda hybrid=each.hybrid: hybrid.segmentor(image) for name, each in found.items()
        }
        seconds = timing.in_turn(looks, rounds)
    return {name: 1e3 * each for name, each in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--split", default="test")
    parser.add_argument("--cases", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    found, seconds = load_all(args.model)
    recipe = experiment.load_recipe(args.model)
    cases = experiment.list_cases(recipe, args.split)[: args.cases]
    others = [name for name in found if name != export.TORCH]
    agreement: dict[str, dict[str, list[float]]] = {
        name: {"prior": [], "refined": []} for name in others
    }
    for case in cases:
        inside = read_truth(case, found[export.TORCH]).inside
        said = {name: each.predict(str(case.image), name=case.name) for name, each in found.items()}
        theirs = said[export.TORCH]
        for name in others:
            prior = compare(said[name].prior_labels, theirs.prior_labels, inside)
            refined = compare(said[name].labels, theirs.labels, inside)
            agreement[name]["prior"].append(prior)
            agreement[name]["refined"].append(refined)
            print(case.name, name, f"prior {prior:.5f}, refined {refined:.5f}", flush=True)
    result = {
        "model": recipe.name,
        "segmentor": recipe.segmentor.name,
        "window": list(recipe.data.patch_size),
        "split": args.split,
        "cases": len(cases),
        "machine": timing.machine(),
        "seconds_to_load": seconds,
        "milliseconds": measure(found, args.rounds),
        "agreement_mean": {
            name: {what: float(np.mean(each)) for what, each in of.items()}
            for name, of in agreement.items()
        },
        "agreement_least": {
            name: {what: min(each) for what, each in of.items()} for name, of in agreement.items()
        },
    }
    timing.write(result, __file__, "segmentor_runtimes")


if __name__ == "__main__":
    main()
