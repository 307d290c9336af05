"""The sizes by which a packed refiner is built: those of the float one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Sizes and choices of the refiner that was packed."""

    channels: tuple[int, ...]
    """at strides 1, 2, 4, 8, 16, 32"""
    first_fusion: int
    """the first of them at which image features come in"""
    num_heads: int
    ffn_ratio: int
    pool_windows: tuple[tuple[int, int], ...]
    """(height, width) of the pools in the cross transformer"""
    published_layout: bool
