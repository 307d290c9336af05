"""Volume and mean intensity of each class of a case, as JSON; of all cases of a folder, as CSV."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hidiff.images import read_image
from hidiff.prediction.endings import STATISTICS
from hidiff.prediction.prediction import Prediction
from hidiff.weights import atomic_write

COLUMNS: tuple[str, ...] = ("case", "class", "voxels", "volume_ml", "mean_intensity")
TABLE = "statistics.csv"


def measure_classes(prediction: Prediction) -> dict[str, dict[str, float | int | None]]:
    """Return the voxels, millilitres and mean intensity of each class, by its name.

    Intensities are those of the file, of several channels the first. Millilitres are None of a
    picture, the mean is None of a class that was not found.
    """
    if prediction.source is None:
        raise ValueError("statistics need the image, so the prediction must come from a file.")
    geometry = prediction.geometry
    values = read_image(prediction.source, None, getattr(geometry, "plane", "axial")).values
    # a film's frames are channels of its file
    image = values.reshape(geometry.shape) if values.size == np.prod(geometry.shape) else values[0]
    spacing = geometry.spacing_mm
    voxel_ml = None if spacing is None else float(np.prod(spacing)) / 1000
    found = {}
    for name, mask in prediction.classes.class_masks(prediction.maps["labels"]).items():
        count = int(np.count_nonzero(mask))
        found[name] = {
            "voxels": count,
            "volume_ml": None if voxel_ml is None else round(count * voxel_ml, 6),
            "mean_intensity": float(image[mask].mean(dtype=np.float64)) if count else None,
        }
    return found


def write_statistics(prediction: Prediction, folder: Path, stem: str) -> None:
    """Write CASE_statistics.json, whole or not at all."""
    content = {"case": stem, "classes": measure_classes(prediction)}
    with atomic_write(folder / f"{stem}{STATISTICS}") as temporary:
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        temporary.write_text(text, encoding="utf-8")


def write_statistics_table(folder: Path) -> Path:
    """Write statistics.csv out of the statistics of every case in a folder; return its path."""
    files = sorted(folder.glob(f"*{STATISTICS}"))
    contents = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    with (
        atomic_write(folder / TABLE) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(row for content in contents for row in _rows(content))
    return folder / TABLE


def _rows(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    case = content["case"]
    return [
        {"case": case, "class": name, **numbers} for name, numbers in content["classes"].items()
    ]
