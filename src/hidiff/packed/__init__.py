"""The refiner on packed bits: layout, a slow reference, compiled kernels."""

from hidiff.packed.choice import kernel_info, kernel_name
from hidiff.packed.int8 import COMPUTES
from hidiff.packed.kernels import attention, conv, conv_block, linear, linear_block, pack, unpack
from hidiff.packed.layout import Epilogue, PackedWeight, pack_weight
from hidiff.packed.refiner import Condition, PackedRefiner
from hidiff.packed.shape import Shape

__all__ = [
    "COMPUTES",
    "Condition",
    "Epilogue",
    "PackedRefiner",
    "PackedWeight",
    "Shape",
    "attention",
    "conv",
    "conv_block",
    "kernel_info",
    "kernel_name",
    "linear",
    "linear_block",
    "pack",
    "pack_weight",
    "unpack",
]
