"""From a trained model and images to predictions, and to the files of their masks.

The names below are imported when they are first used, so that `hidiff.prediction.settings`, from
which the command line makes its options, is quick to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_HOME = {
    "RULES": "prediction",
    "Ensemble": "ensemble",
    "Prediction": "prediction",
    "PredictionSettings": "settings",
    "Predictor": "predictor",
    "SliceMaps": "prediction",
    "decide": "prediction",
    "entropy_bits": "prediction",
    "one_slice": "prediction",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module the first time it is asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
