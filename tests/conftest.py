"""The start of every test: the same seeds, one thread, Hypothesis without a deadline."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

# Do not import hidiff here: the jaxtyping hook that checks its shapes is not in place yet.

# Torch's first call is slow, and so is the first check of a shape: neither is a fault of the test.
settings.register_profile(
    "hidiff", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=50
)
settings.register_profile("hidiff-ci", settings.get_profile("hidiff"), max_examples=20)
settings.load_profile("hidiff-ci" if os.environ.get("CI") else "hidiff")

# Two workers of one thread each are faster than one worker of two.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeds() -> None:
    """Every test draws the same numbers, alone or among others."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets: $HIDIFF_DATA, or shared/data beside the repository."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    root = Path(os.environ.get("HIDIFF_DATA", beside))
    if not root.is_dir():
        pytest.skip(f"no data sets at {root}; name their folder in HIDIFF_DATA to run this test")
    return root
