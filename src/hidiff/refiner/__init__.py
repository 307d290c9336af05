"""The small generative network that refines a mask, real or 1-bit."""

from hidiff.refiner.published import Published, read_published
from hidiff.refiner.unet import MIN_SIZE, STRIDE, Prepared, Refiner, RefinerSettings

__all__ = [
    "MIN_SIZE",
    "STRIDE",
    "Prepared",
    "Published",
    "Refiner",
    "RefinerSettings",
    "read_published",
]
