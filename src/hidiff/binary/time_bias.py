"""Biases that depend on the time step, and the activation that carries two of them.

Everything takes `time`, the SiLU of the time embedding, (b, time_channels), and works on
feature maps (b, c, h, w) and on tokens (b, n, c) alike.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class TimeLinear(nn.Linear):
    """One number a channel out of the time embedding; starts as the constant `start` at every t."""

    def __init__(self, time_channels: int, channels: int, start: float = 0.0):
        super().__init__(time_channels, channels)
        nn.init.zeros_(self.weight)
        nn.init.constant_(self.bias, start)

    def along(self, x: Tensor, time: Float[Tensor, "b e"]) -> Tensor:
        """Reshape the numbers so that they spread over the pixels or tokens of x."""
        value = super().forward(time)
        return value[:, :, None, None] if x.ndim == 4 else value[:, None, :]


class TimeBias(TimeLinear):
    """x + bias(t): the learned, time-dependent threshold in front of a sign (ReActNet's RSign)."""

    def forward(self, x: Tensor, time: Float[Tensor, "b e"]) -> Tensor:
        return x + self.along(x, time)


class TimeScale(nn.Module):
    """x * scale(t) + bias(t)."""

    def __init__(self, time_channels: int, channels: int, start: float):
        super().__init__()
        self.scale = TimeLinear(time_channels, channels, start)
        self.bias = TimeBias(time_channels, channels)

    def forward(self, x: Tensor, time: Float[Tensor, "b e"]) -> Tensor:
        return self.bias(x * self.scale.along(x, time), time)


class RPReLU(nn.Module):
    """PReLU(x + bias(t)) + bias'(t): ReActNet's activation with biases from the time embedding."""

    def __init__(self, time_channels: int, channels: int):
        super().__init__()
        self.before = TimeBias(time_channels, channels)
        self.slope = nn.Parameter(nn.PReLU(channels).weight.detach().clone())
        self.after = TimeBias(time_channels, channels)

    def forward(self, x: Tensor, time: Float[Tensor, "b e"]) -> Tensor:
        x = self.before(x, time)
        if x.ndim == 4:
            x = functional.prelu(x, self.slope)
        else:
            x = functional.prelu(x.transpose(1, 2), self.slope).transpose(1, 2)
        return self.after(x, time)
