"""The time embedding: what the refiner knows of the step t."""

import math

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn


def sinusoids(steps: Integer[Tensor, "b"], channels: int) -> Float[Tensor, "b c"]:
    """Return cosines, then sines, of the steps at frequencies 10000^(-i / (channels/2))."""
    half = channels // 2
    exponents = torch.arange(half, device=steps.device, dtype=torch.float32) / half
    angles = steps[:, None].float() * torch.exp(-math.log(10_000) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class TimeEmbedding(nn.Module):
    """t in 1..T -> SiLU of the embedding, (b, 4 * width): every layer's biases are made of it."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width
        self.channels = 4 * width
        self.first = nn.Linear(width, self.channels)
        self.second = nn.Linear(self.channels, self.channels)

    def forward(self, t: Integer[Tensor, "b"]) -> Float[Tensor, "b e"]:
        # the paper counts its steps from 0
        hidden = nn.functional.silu(self.first(sinusoids(t - 1, self.width)))
        return nn.functional.silu(self.second(hidden))
