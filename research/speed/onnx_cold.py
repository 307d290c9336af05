"""Time and memory of an exported model from a cold start, by ONNX Runtime alone.

    python research/speed/onnx_cold.py

Runs examples/onnx_only.py on a drawn picture of 480x500, which `vessels` sees whole, each time in a
new process, and beside it the same with the work of a small picture.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from hidiff import experiment

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research import timing

EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_only.py"
IMPORTS = "import json, sys; import numpy; import onnxruntime; from PIL import Image"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (model,) = experiment.export_onnx("vessels", folder / "vessels.onnx", 1)
        pixels = np.random.default_rng(0).integers(0, 256, (480, 500, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "eye.png")
        load = f"{IMPORTS}; onnxruntime.InferenceSession({str(model)!r})"
        commands = {
            "imports": ["-c", IMPORTS],
            "imports and model": ["-c", load],
            "whole example": [EXAMPLE, model, folder / "eye.png", folder / "mask.png"],
        }
        found: dict[str, list] = {name: [] for name in commands}
        for number in range(args.rounds + 1):
            for name, command in commands.items():
                run = cold(command)
                if number:
                    found[name].append(run)
        result = {
            "machine": timing.machine(),
            "load": os.getloadavg()[0],
            "file_mib": model.stat().st_size / 2**20,
            **{
                name: {
                    "seconds": statistics.median(run[0] for run in runs),
                    "least_seconds": min(run[0] for run in runs),
                    "processor_seconds": statistics.median(run[1] for run in runs),
                    "least_processor_seconds": min(run[1] for run in runs),
                    "mib": max(run[2] for run in runs),
                }
                for name, runs in found.items()
            },
        }
    timing.write(result, __file__, "onnx_cold")


def cold(command: list) -> tuple[float, float, float]:
    """Return the seconds, processor seconds and MiB of a new process."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *map(str, command)])
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{command} ended with {status}")
    scale = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * scale / 2**20


if __name__ == "__main__":
    main()
