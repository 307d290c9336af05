"""Predictions against the truth: metrics of each case, calibration, results by size."""

from hidiff.evaluation.evaluate import evaluate, judge, read_truth

__all__ = [
    "evaluate",
    "judge",
    "read_truth",
]
