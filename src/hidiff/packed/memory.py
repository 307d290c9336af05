"""Memory for large tensors, used again: above 32 MiB new memory costs as much as the work."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Memory:
    """Tensors, channels-last, that wait to be written again; `key` says what work they are for."""

    def __init__(self, key: tuple[int, ...]):
        self.key = key
        self.free: dict[tuple[int, ...], list[Tensor]] = {}

    def take(self, shape: Sequence[int]) -> Tensor:
        """A tensor of that shape; what it holds is anything."""
        try:
            return self.free.get(tuple(shape), []).pop()
        except IndexError:  # none waits, or another thread was quicker
            return torch.empty(tuple(shape), memory_format=torch.channels_last)

    def give(self, *tensors: Tensor) -> None:
        """Take these back: nobody reads them any more."""
        for tensor in tensors:
            self.free.setdefault(tuple(tensor.shape), []).append(tensor)
