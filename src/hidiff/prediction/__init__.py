"""A trained model and images to predictions, and to the files of their masks."""

from hidiff.prediction.ensemble import Ensemble
from hidiff.prediction.prediction import (
    RULES,
    Prediction,
    SliceMaps,
    decide,
    entropy_bits,
    one_slice,
)
from hidiff.prediction.predictor import Predictor
from hidiff.prediction.settings import PredictionSettings

__all__ = [
    "RULES",
    "Ensemble",
    "Prediction",
    "PredictionSettings",
    "Predictor",
    "SliceMaps",
    "decide",
    "entropy_bits",
    "one_slice",
]
