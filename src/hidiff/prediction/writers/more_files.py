"""The files of a case that show or measure it, beside its labels."""

from pathlib import Path

from hidiff.prediction.endings import OVERLAY, PREVIEW, Extras
from hidiff.prediction.prediction import Prediction
from hidiff.prediction.writers.overlay import write_overlay
from hidiff.prediction.writers.preview import write_preview
from hidiff.prediction.writers.statistics import write_statistics


def write_more(prediction: Prediction, folder: Path, stem: str, extras: Extras) -> None:
    """Write the overlay, the preview and the statistics of a case, as far as they are asked for."""
    if extras.overlay:
        write_overlay(prediction, folder / f"{stem}{OVERLAY}")
    if extras.preview:
        write_preview(prediction, folder / f"{stem}{PREVIEW}")
    if extras.statistics:
        write_statistics(prediction, folder, stem)
