"""1-bit layers and their real twins, out of one code."""

from hidiff.binary.layers import Conv2d, Linear
from hidiff.binary.precision import BINARY, PRECISIONS, REAL, Precision
from hidiff.binary.sign import above_threshold, centred_scaled_sign, scaled_sign, sign
from hidiff.binary.time_bias import RPReLU, TimeBias, TimeLinear, TimeScale

__all__ = [
    "BINARY",
    "PRECISIONS",
    "REAL",
    "Conv2d",
    "Linear",
    "Precision",
    "RPReLU",
    "TimeBias",
    "TimeLinear",
    "TimeScale",
    "above_threshold",
    "centred_scaled_sign",
    "scaled_sign",
    "sign",
]
