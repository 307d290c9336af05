"""How fast are the packed kernels, against float32, int8 and what the processor could do at most?

    python research/speed/kernels.py [--threads 1 2] [--rounds 15] [--quick]

3x3 convolutions with as many channels out as in, all ways in turn. Rates are billions of
multiply-adds a second, the same ones counted for all (a bit that is compared is one). On one thread
the clock is that thread's processor time, which leaves out what other programs take; on more it is
the clock on the wall, so that these figures want a quiet machine.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional

from hidiff import packed
from hidiff.packed.compiled import load_kernels

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research import timing

# channels, height and width
SHAPES = [(32, 256), (64, 256), (128, 64), (128, 128), (128, 256), (128, 512), (256, 256)]
MAIN = (128, 256)
INT8_ENGINE = "onednn"


def ways(engine: packed.Engine, channels: int, size: int) -> dict[str, Callable[[], object]]:
    """Return the same convolution in floats, int8 and bits.

    `block` is bits with the fused epilogue; `block_again` writes into the same memory each time.
    """
    x = torch.randn(1, channels, size, size).contiguous(memory_format=torch.channels_last)
    w = torch.randn(channels, channels, 3, 3)
    w_last = w.contiguous(memory_format=torch.channels_last)
    bits, weight = engine.pack(x), packed.pack_weight(w)
    epilogue = packed.Epilogue(*torch.randn(4, channels), torch.randn(1, channels))
    out = torch.empty_like(x)
    quantized = torch.quantize_per_tensor(x, 0.05, 128, torch.quint8)
    int8 = torch.ops.quantized.conv2d_prepack(
        torch.quantize_per_tensor(w, 0.05, 0, torch.qint8), None, [1, 1], [1, 1], [1, 1], 1
    )
    return {
        "float32": lambda: functional.conv2d(x, w_last, padding=1),
        "int8": lambda: torch.ops.quantized.conv2d(quantized, int8, 0.05, 128),
        "bits": lambda: engine.conv(bits, weight, dtype=torch.int16),
        "block": lambda: engine.conv_block(bits, weight, epilogue, [x]),
        "block_again": lambda: engine.conv_block(bits, weight, epilogue, [x], out=out),
        "pack": lambda: engine.pack(x),
    }


def measure(
    engine: packed.Engine, shape: tuple[int, int], rounds: int, peak: float
) -> dict[str, object]:
    """Measure one shape: seconds, rates, ratios to float32, share of the peak of all threads."""
    channels, size = shape
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds = timing.in_turn(ways(engine, channels, size), rounds, clock)
    work = channels * channels * 9 * size * size / 1e9
    rates = {name: work / value for name, value in seconds.items() if name != "pack"}
    return {
        "channels": channels,
        "size": size,
        "clock": clock.__name__,
        "milliseconds": {name: round(1000 * value, 3) for name, value in seconds.items()},
        "giga_multiply_adds_per_second": {n: round(rate, 1) for n, rate in rates.items()},
        "times_float32": {name: round(rate / rates["float32"], 2) for name, rate in rates.items()},
        "bits_share_of_peak": round(rates["bits"] / (peak * torch.get_num_threads()), 3),
    }


def peaks(name: str, seconds: float) -> dict[str, float]:
    """Return the most that one thread gets through out of its first cache, in either way."""
    kernel = load_kernels()[0].kernel(name)
    return {way: round(kernel.peak(way, seconds), 1) for way in ("plain", "carry_save")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, torch.get_num_threads()])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="the main shape only")
    args = parser.parse_args()
    module, problem = load_kernels()
    if module is None:
        raise SystemExit(f"nothing to measure: {problem}")
    torch.manual_seed(0)
    torch.backends.quantized.engine = INT8_ENGINE

    result: dict[str, object] = {
        "machine": timing.machine(),
        "load_average_before": os.getloadavg(),
        "kernel": packed.kernel_info(),
        "peak_of_one_thread": {name: peaks(name, 0.5) for name in module.supported()},
    }
    peak_of = {name: max(found.values()) for name, found in result["peak_of_one_thread"].items()}
    engine = packed.choose_engine()
    for threads in dict.fromkeys(args.threads):
        torch.set_num_threads(threads)
        shapes = [MAIN] if args.quick else SHAPES
        result[f"threads_{threads}"] = [
            measure(engine, shape, args.rounds, peak_of[engine.name]) for shape in shapes
        ]
    torch.set_num_threads(1)
    others = {}
    for name in module.supported():
        rounds = max(3, args.rounds // 3)
        others[name] = measure(packed.choose_engine(name), MAIN, rounds, peak_of[name])
    result["every_kernel_on_one_thread"] = others
    result["load_average_after"] = os.getloadavg()
    timing.write(result, __file__, "kernels")


if __name__ == "__main__":
    main()
