"""From a trained model and images to masks, tables and reports."""

from hidiff.inference.evaluate import evaluate, judge, read_truth
from hidiff.inference.prediction import RULES, Prediction, decide, entropy_bits
from hidiff.inference.predictor import PredictionSettings, Predictor

__all__ = [
    "RULES",
    "Prediction",
    "PredictionSettings",
    "Predictor",
    "decide",
    "entropy_bits",
    "evaluate",
    "judge",
    "read_truth",
]
