"""From a trained model and images to masks, tables and reports."""

from hidiff.inference.ensemble import Ensemble
from hidiff.inference.evaluate import evaluate, judge, read_truth
from hidiff.inference.prediction import RULES, Prediction, decide, entropy_bits
from hidiff.inference.predictor import Predictor
from hidiff.inference.settings import PredictionSettings
from hidiff.inference.volume import VolumePrediction

__all__ = [
    "RULES",
    "Ensemble",
    "Prediction",
    "PredictionSettings",
    "Predictor",
    "VolumePrediction",
    "decide",
    "entropy_bits",
    "evaluate",
    "judge",
    "read_truth",
]
