"""A prediction as one compressed archive of arrays, which reads without unpickling."""

from pathlib import Path

import numpy as np

from hidiff.prediction.endings import ENDINGS
from hidiff.prediction.prediction import Prediction
from hidiff.prediction.writers.common import Files, PredictionFormat

NAMES = ("labels", "probability", "uncertainty", "prior", "prior_labels", "variance")


def npz_files(prediction: Prediction, uncertainty: bool) -> Files:
    """Write every array that was kept, with the axes of its file, and a volume's affine (RAS+)."""
    arrays = {name: getattr(prediction, name) for name in NAMES}
    grid = prediction.geometry.grid
    arrays["affine"] = None if grid is None else grid.affine

    def write(path: Path) -> None:
        with open(path, "wb") as file:
            kept = {name: values for name, values in arrays.items() if values is not None}
            np.savez_compressed(file, **kept)

    yield ".npz", write


NPZ = PredictionFormat(ENDINGS["npz"], npz_files)
