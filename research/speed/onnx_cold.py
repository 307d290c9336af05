"""Time and memory of an exported model from a cold start, by ONNX Runtime alone.

    python research/speed/onnx_cold.py

Runs examples/onnx_only.py on a picture that `vessels` sees whole, each time in a new process, on
one thread and on as many as ONNX Runtime takes by itself. Processor seconds hold for a machine that
does nothing else; with one thread they are what a clock would show there.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

import hidiff
from hidiff import experiment

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research import timing

EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_only.py"
IMPORTS = """
import json, sys
import numpy, onnxruntime
from PIL import Image
"""
ONE_THREAD = """
make_options = onnxruntime.SessionOptions
def one_thread():
    options = make_options()
    options.intra_op_num_threads = 1
    return options
onnxruntime.SessionOptions = one_thread
"""
LOAD = """
onnxruntime.InferenceSession(sys.argv[2], onnxruntime.SessionOptions())
"""
RUN = """
import runpy
runpy.run_path(sys.argv.pop(1))
"""
# ru_maxrss would start with what this process holds.
MEMORY = """
print(next(line for line in open("/proc/self/status") if "VmHWM" in line).split()[1])
"""


class Cold(NamedTuple):
    """Time and memory of a new process."""

    seconds: float
    processor_seconds: float
    mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vessels", help="any model of photographs")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (model,) = experiment.export_onnx(args.model, folder / "model.onnx", 1)
        size = hidiff.load(args.model).recipe.data.size or (512, 512)
        pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "eye.png")
        example = [EXAMPLE, model, folder / "eye.png", folder / "mask.png"]
        programs = {
            "imports": IMPORTS,
            "imports and model": IMPORTS + ONE_THREAD + LOAD,
            "example, one thread": IMPORTS + ONE_THREAD + RUN,
            "example": IMPORTS + RUN,
        }
        found: dict[str, list[Cold]] = {name: [] for name in programs}
        for _ in range(args.rounds):
            for name, code in programs.items():
                found[name].append(run(code, example))
                print(name, found[name][-1], flush=True)
        result = {
            "machine": timing.machine(),
            "model": args.model,
            "picture": size,
            "load": os.getloadavg()[0],
            "file_mib": model.stat().st_size / 2**20,
            **{
                name: {
                    "least_seconds": min(run.seconds for run in runs),
                    "least_processor_seconds": min(run.processor_seconds for run in runs),
                    "mib": max(run.mib for run in runs),
                }
                for name, runs in found.items()
            },
        }
    timing.write(result, __file__, "onnx_cold")


def run(code: str, arguments: list) -> Cold:
    """Run code in a new process."""
    command = [sys.executable, "-c", code + MEMORY, *map(str, arguments)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{code} ended with {status}")
    return Cold(seconds, used.ru_utime + used.ru_stime, int(said.split()[-1]) / 1024)


if __name__ == "__main__":
    main()
