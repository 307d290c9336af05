"""Measure time and memory, and write a result with the machine that it was measured on.

Several things are timed in turn, so that a busy machine slows all of them alike.
"""

import json
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

import hidiff
from hidiff.suites.hardware import processor


def in_turn(
    things: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Return the median seconds of each thing over `rounds`, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in things}
    for number in range(rounds + 1):
        for name, thing in things.items():
            start = clock()
            thing()
            if number:
                times[name].append(clock() - start)
    return {name: statistics.median(each) for name, each in times.items()}


def peak_memory_mib() -> float:
    """Return the most memory that this process has held so far, in MiB."""
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss would start with what the parent process held
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine() -> dict[str, str | int]:
    """Return the processor, threads and versions that a number was measured with."""
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "hidiff": hidiff.__version__,
    }


def write(result: Mapping[str, object], script: str, name: str) -> None:
    """Print a result and write it to results/NAME.json beside the script that measured it."""
    text = json.dumps(result, indent=2)
    print(text)
    path = Path(script).parent / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
