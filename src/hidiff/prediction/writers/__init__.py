"""Predictions as files: one module for each format, and a table of them."""

from hidiff.prediction.writers.writing import WRITERS, write_prediction

__all__ = ["WRITERS", "write_prediction"]
