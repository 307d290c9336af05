"""The names of the files that a prediction becomes, and which cases of a folder are finished.

Imports nothing heavy: a command asks this before it loads a model.
"""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

# The names are those of Geometry.outputs, which says what each kind of image can become.
ENDINGS = {"png": ".png", "tiff": ".tiff", "npz": ".npz", "nifti": ".nii.gz", "dicom": ".dcm"}
ALWAYS_UNCERTAIN = ("png", "tiff")  # their uncertainty is written without being asked for
OVERLAY = "_overlay.png"


class Extras(NamedTuple):
    """The files written for each case beside its labels."""

    probability: bool = False
    uncertainty: bool = False
    overlay: bool = False


NOTHING_MORE = Extras()


def file_names(folder: Path) -> list[str]:
    """Return the names of the files in a folder; none if it is not there."""
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def stems_of(names: Iterable[str], format: str) -> set[str]:
    """Return the stems of all predictions of a format among the names of files."""
    ending = ENDINGS[format]
    stems = [name.removesuffix(ending) for name in names if name.endswith(ending)]
    return {re.sub(r"_labels(_.*)?$", "", stem) for stem in stems}


def is_finished(
    names: Iterable[str], stem: str, formats: Sequence[str], extras: Extras = NOTHING_MORE
) -> bool:
    """Return whether all that is asked for of a case is among the names of files.

    Labels are the last file of a case to appear (see write_prediction), so where they are, all that
    was asked for in that run is there.
    """
    names = list(names)
    return all(
        any(re.fullmatch(pattern, name) for name in names)
        for pattern in _patterns(re.escape(stem), formats, extras)
    )


def _patterns(stem: str, formats: Sequence[str], extras: Extras) -> list[str]:
    """Return a regular expression for every kind of file that a finished case has."""
    patterns = []
    for format in formats:
        ending = re.escape(ENDINGS[format])
        in_one = format in ("nifti", "npz", "dicom")
        plane = r"(_\d+-.*)?"
        patterns.append(rf"{stem}(_labels{plane}){'?' if in_one else ''}{ending}")
        if format == "npz":
            continue
        soft = re.escape(ENDINGS["nifti"]) if format == "dicom" else ending
        if extras.probability:
            patterns.append(rf"{stem}_probability{plane}{soft}")
        if extras.uncertainty or format in ALWAYS_UNCERTAIN:
            patterns.append(rf"{stem}_uncertainty{plane}{soft}")
    if extras.overlay:
        patterns.append(stem + re.escape(OVERLAY))
    return patterns
