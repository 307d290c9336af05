"""Memory for large tensors, used again: above 32 MiB new memory costs as much as the work."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Memory:
    """Channels-last tensors that wait to be written again; `key` names the work they are for."""

    def __init__(self, key: tuple[int, ...]):
        self.key = key
        self.free: dict[tuple[int, ...], list[Tensor]] = {}

    def take(self, shape: Sequence[int]) -> Tensor:
        """Return a tensor of that shape, holding anything."""
        try:
            return self.free.get(tuple(shape), []).pop()
        except IndexError:  # none waits, or another thread was quicker
            return torch.empty(tuple(shape), memory_format=torch.channels_last)

    def give(self, *tensors: Tensor) -> None:
        """Take back tensors that nobody reads any more."""
        for tensor in tensors:
            self.free.setdefault(tuple(tensor.shape), []).append(tensor)
