"""The conditions, beside recipe and seed, under which a run gives the same bits again."""

import json
from collections.abc import Mapping

import torch

KEY = "conditions"  # in a state file's metadata


def conditions(*, workers: int, processes: int, device: str) -> dict[str, str]:
    """Return the versions and the hardware that this process computes with.

    Threads, processes and torch's version change the order in which floats are added up, and so
    does the processor's instruction set. Workers should not matter, as every patch is a function
    of its key alone; they are recorded so that nobody has to take our word for it.
    """
    return {
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
        "workers": str(workers),
        "processes": str(processes),
        "device": device,
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def differences(metadata: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return a line for each condition that has changed since the state was written."""
    before = json.loads(metadata.get(KEY, "{}"))
    return [
        f"{name} was {before[name]} and is {value}"
        for name, value in now.items()
        if name in before and before[name] != value
    ]
