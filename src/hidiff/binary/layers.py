"""Convolution and linear layers that are real or 1-bit as their precision says."""

from torch import Tensor, nn
from torch.nn import functional

from hidiff.binary.precision import Precision


class Conv2d(nn.Conv2d):
    """A convolution, real or 1-bit as `precision` says."""

    def __init__(self, *args, precision: Precision, **kwargs):
        super().__init__(*args, **kwargs)
        self.precision = precision

    def forward(self, input: Tensor) -> Tensor:
        weight = self.precision.conv_weight(self.weight)
        return self._conv_forward(self.precision.activation(input), weight, self.bias)


class Linear(nn.Linear):
    """A linear layer, real or 1-bit as `precision` says."""

    def __init__(self, *args, precision: Precision, **kwargs):
        super().__init__(*args, **kwargs)
        self.precision = precision

    def forward(self, input: Tensor) -> Tensor:
        weight = self.precision.linear_weight(self.weight)
        return functional.linear(self.precision.activation(input), weight, self.bias)
