"""Predictions against the truth: metrics of each case, calibration, results by size."""

from hidiff.evaluation.corrections import correct_cases
from hidiff.evaluation.evaluate import evaluate, judge, read_truth

__all__ = [
    "correct_cases",
    "evaluate",
    "judge",
    "read_truth",
]
