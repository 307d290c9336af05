"""The small generative network that refines a mask, real or 1-bit."""

from hidiff.refiner.published import Published, read_published
from hidiff.refiner.unet import (
    MIN_SIZE,
    STRIDE,
    Conditions,
    Prepared,
    Refiner,
    RefinerSettings,
    check_size,
)

__all__ = [
    "MIN_SIZE",
    "STRIDE",
    "Conditions",
    "Prepared",
    "Published",
    "Refiner",
    "RefinerSettings",
    "check_size",
    "read_published",
]
