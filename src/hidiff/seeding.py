"""Randomness that is a pure function of what it is for.

A draw depends on the seed and on words that say what it is (case, sample, step), never on what
was drawn before it. So batches, tiles, workers and resumed runs cannot change it.
"""

import hashlib
import random

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def derive(seed: int, *words: int | str) -> int:
    """Return a seed in 0..2**63-1 that depends on these words alone."""
    text = "\x1f".join([str(int(seed)), *map(str, words)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, *words: int | str) -> torch.Generator:
    """Return a CPU generator whose numbers depend on these words alone."""
    return torch.Generator().manual_seed(derive(seed, *words))


def seed_libraries(seed: int) -> None:
    """Seed every library's own generator, for code that draws without being handed one."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # it takes 32 bits
    torch.manual_seed(seed)


def uniform_field(seed: int, *words: int | str, shape: tuple[int, ...]) -> Float[Tensor, "*shape"]:
    """Return numbers in [0, 1), one per pixel, drawn by a counter (Philox).

    They are equal on every machine.
    """
    bits = np.random.Generator(np.random.Philox(key=derive(seed, *words)))
    return torch.from_numpy(bits.random(shape, dtype=np.float32))


BLOCK = 64  # pixels; a field is drawn in blocks, so that a window costs what it shows


def uniform_window(
    seed: int, *words: int | str, planes: int, top: int, left: int, height: int, width: int
) -> Float[Tensor, "planes height width"]:
    """Return a window of an endless field of numbers in [0, 1): windows that overlap share them."""
    first_row, first_column = top // BLOCK, left // BLOCK
    field = torch.cat(
        [
            torch.cat(
                [
                    uniform_field(seed, *words, row, column, shape=(planes, BLOCK, BLOCK))
                    for column in range(first_column, (left + width - 1) // BLOCK + 1)
                ],
                dim=2,
            )
            for row in range(first_row, (top + height - 1) // BLOCK + 1)
        ],
        dim=1,
    )
    row, column = top - first_row * BLOCK, left - first_column * BLOCK
    return field[:, row : row + height, column : column + width]
