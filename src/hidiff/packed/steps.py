"""The numbers that depend on t alone: a row for each step, of which every layer owns a part."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

StepValues = Float[Tensor, "values"]
"""One row of a StepTable; every layer knows its slices of it."""


class StepTable(nn.Module):
    """Biases, scales and thresholds of all layers, for the steps that a model was packed for.

    Layers `reserve` their parts while the model is made. Then `tabulate` fills the table, or
    `allocate` makes room for what a file will fill. The smaller one is kept: the rows themselves
    (`values`), or the linear layer that makes them from each step's time embedding.
    """

    values: Float[Tensor, "steps n"]
    weight: Float[Tensor, "n e"]
    bias: Float[Tensor, "n"]
    times: Float[Tensor, "steps e"]

    def __init__(self):
        super().__init__()
        self.size = 0
        self.steps: list[int] = []
        self._last: tuple[int, Tensor] | None = None

    def reserve(self, count: int) -> slice:
        """Reserve so many numbers of every row for one layer; return where they stand."""
        self.size += count
        return slice(self.size - count, self.size)

    def allocate(self, steps: Sequence[int], time_channels: int | None) -> None:
        """Make room for the rows, or for the linear layer on so many `time_channels`."""
        if time_channels is None:
            shapes = {"values": (len(steps), self.size)}
        else:
            shapes = {
                "weight": (self.size, time_channels),
                "bias": (self.size,),
                "times": (len(steps), time_channels),
            }
        self.steps = list(steps)
        for name, shape in shapes.items():
            self.register_buffer(name, torch.empty(shape))

    def tabulate(
        self,
        steps: Sequence[int],
        weight: Float[Tensor, "n e"],
        bias: Float[Tensor, "n"],
        times: Float[Tensor, "steps e"],
    ) -> None:
        """Fill the table: a row is weight @ time + bias."""
        as_rows = len(steps) * self.size <= weight.numel() + bias.numel() + times.numel()
        self.allocate(steps, None if as_rows else times.shape[1])
        if as_rows:
            self.values.copy_(times @ weight.T + bias)
        else:
            self.weight.copy_(weight)
            self.bias.copy_(bias)
            self.times.copy_(times)

    def row(self, t: int) -> StepValues:
        """Return the numbers of step t. Raises ValueError for a step that was not packed."""
        if t not in self.steps:
            raise ValueError(
                f"the model was packed for the steps {', '.join(map(str, self.steps))}, but step "
                f"{t} is asked for. Predict with {len(self.steps)} steps, or pack it for more."
            )
        last = self._last  # read once, as another thread may put another step there
        if last is None or last[0] != t:
            index = self.steps.index(t)
            if "values" in self._buffers:
                row = self.values[index]
            else:
                row = torch.addmv(self.bias, self.weight, self.times[index])
            last = self._last = (t, row)
        return last[1]
