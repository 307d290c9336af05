"""The published refiner's checkpoint, made again by the recipe in golden/README.md."""

import zlib
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parents[1] / "golden"


def checkpoint() -> dict[str, torch.Tensor]:
    lines = (GOLDEN / "official_binary_state_dict_keys.txt").read_text().splitlines()
    named = (line.split("\t") for line in lines)
    return {name: _tensor(name, shape) for name, shape in named}


def _tensor(name: str, shape_text: str) -> torch.Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    shape = tuple(int(side) for side in shape_text.split(","))
    count = int(np.prod(shape))
    f = np.sin(0.7390851 * np.arange(count) + 0.1 * (zlib.crc32(name.encode()) % 1000))
    if name.endswith("running_var"):
        values = 1 + 0.5 * f
    elif name.endswith("running_mean"):
        values = 0.1 * f
    elif len(shape) == 1 and name.endswith("weight"):
        values = 0.25 + 0.1 * f if "prelu" in name else 1 + 0.1 * f
    elif len(shape) == 1:
        values = 0.1 * f
    else:
        values = 1.2 * f / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(values.reshape(shape).astype(np.float32))


def inputs() -> dict[str, torch.Tensor | list[torch.Tensor]]:
    rng = np.random.default_rng(11)

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32))

    y = tensor(rng.integers(0, 2, (2, 1, 64, 64)))
    p = tensor(rng.uniform(0, 1, (2, 1, 64, 64)))
    image = tensor(rng.normal(0, 1, (2, 3, 64, 64)))
    features = [
        tensor(rng.normal(0, 1, (2, c, 64 // (4 * 2**i), 64 // (4 * 2**i))))
        for i, c in enumerate((32, 32, 64, 64))
    ]
    # the paper counts t from 0: 3 and 8
    return {"yt": y, "prior": p, "image": image, "features": features, "t": torch.tensor([4, 9])}
