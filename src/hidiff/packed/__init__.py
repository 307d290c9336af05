"""The refiner on packed bits: layout, compiled kernels, a slow reference, and the choice of one."""

from hidiff.packed.choice import choose_engine, kernel_info, kernel_name
from hidiff.packed.engine import Engine
from hidiff.packed.int8 import COMPUTES
from hidiff.packed.layout import Epilogue, PackedWeight, pack_weight
from hidiff.packed.refiner import Condition, PackedRefiner
from hidiff.packed.shape import Shape

__all__ = [
    "COMPUTES",
    "Condition",
    "Engine",
    "Epilogue",
    "PackedRefiner",
    "PackedWeight",
    "Shape",
    "choose_engine",
    "kernel_info",
    "kernel_name",
    "pack_weight",
]
