"""Predictions as files: one module for each format, and a table of them."""

from hidiff.prediction.writers.more_files import write_more
from hidiff.prediction.writers.overlay import draw_overlay, write_overlay
from hidiff.prediction.writers.writing import WRITERS, write_prediction

__all__ = ["WRITERS", "draw_overlay", "write_more", "write_overlay", "write_prediction"]
