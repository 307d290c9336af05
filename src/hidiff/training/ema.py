"""The exponential moving average of the refiner's weights, batch-norm buffers included."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)
MAX_DECAY = 0.9999


class EMA(Generic[Network]):
    """A copy of a module that follows it slowly; prediction uses the copy.

    The decay after n updates is min(0.9999, (1 + n) / (10 + n)), so that the start is soon
    forgotten. Counters are copied as they are.
    """

    def __init__(self, module: Network):
        self.module: Network = copy.deepcopy(module).eval().requires_grad_(False)
        self.num_updates = 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the module's present weights and buffers."""
        self.num_updates += 1
        decay = min(MAX_DECAY, (1 + self.num_updates) / (10 + self.num_updates))
        live = module.state_dict()
        for name, value in self.module.state_dict().items():
            if value.is_floating_point():
                value.lerp_(live[name], 1 - decay)
            else:
                value.copy_(live[name])
