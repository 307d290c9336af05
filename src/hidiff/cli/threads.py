"""Make the threads of torch wait briefly for each other, so that a busy machine stays usable."""

import os
from collections.abc import MutableMapping

# Iterations that a waiting thread of GNU OpenMP spins before it sleeps; its own default is 300,000.
# A small training step on two threads, beside busy processes on two cores, took 0.39 s of
# processor time and 1.2 to 1.4 s by the clock with that default, 0.09 and 0.18 s with 10,000 (one
# thread: 0.08 and 0.4 to 0.6 s).
SPINS = "10000"


def wait_briefly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make waiting threads sleep soon, unless the environment already says how they wait.

    GNU OpenMP reads the variable when torch is imported, so this comes before that import.
    """
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", SPINS)
