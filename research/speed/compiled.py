"""What does torch.compile give a float refiner, and does the answer stay the same?

    python research/speed/compiled.py [--width 16] [--size 96] [--batch 8] [--rounds 5]

A step of a 1-bit refiner in floats and of its real twin, as it is and compiled, in turn; and the
seconds of the first call of each, which compiles. Random images and weights.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from hidiff.hybrid import HybridSegmentor

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research import timing
from research.speed.packed import a_step, hybrids


def with_steps(hybrid: HybridSegmentor, denoise: Callable, step: Callable) -> Callable:
    """The step with one way of denoising in place of another."""

    def run() -> torch.Tensor:
        hybrid.refiner.denoise = denoise
        return step()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    rows = {}
    for name, hybrid in hybrids(args.width, args.size, "once").items():
        if name == "packed":
            continue
        torch.nn.init.normal_(hybrid.refiner.output.weight, std=0.1)  # else it says nothing
        step = a_step(hybrid, args.size, args.batch)
        plain = with_steps(hybrid, hybrid.refiner.denoise, step)
        compiled = with_steps(hybrid, torch.compile(hybrid.refiner.denoise), step)
        truth = plain()
        start = time.perf_counter()
        found = compiled()
        first = time.perf_counter() - start
        seconds = timing.in_turn({"plain": plain, "compiled": compiled}, args.rounds)
        rows[name] = {
            "seconds": seconds,
            "times_faster": seconds["plain"] / seconds["compiled"],
            "seconds_of_the_first_call": first,
            "same_sign": float(((found > 0) == (truth > 0)).float().mean()),
        }
    facts = {"width": args.width, "size": args.size, "batch": args.batch}
    timing.write({**facts, "machine": timing.machine(), "refiners": rows}, __file__, "compiled")


if __name__ == "__main__":
    main()
