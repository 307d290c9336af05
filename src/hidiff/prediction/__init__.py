"""A trained model and images to predictions, and to the files of their masks."""

from hidiff.prediction.ensemble import Ensemble
from hidiff.prediction.prediction import RULES, Prediction, decide, entropy_bits
from hidiff.prediction.predictor import Predictor
from hidiff.prediction.settings import PredictionSettings
from hidiff.prediction.volume import VolumePrediction

__all__ = [
    "RULES",
    "Ensemble",
    "Prediction",
    "PredictionSettings",
    "Predictor",
    "VolumePrediction",
    "decide",
    "entropy_bits",
]
