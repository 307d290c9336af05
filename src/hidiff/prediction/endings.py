"""The names of the files that a prediction becomes, and which cases of a folder are finished.

Imports nothing heavy: a command asks this before it loads a model.
"""

import os
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

# The names are those of Geometry.outputs, which says what each kind of image can become.
ENDINGS = {"png": ".png", "tiff": ".tiff", "npz": ".npz", "nifti": ".nii.gz", "dicom": ".dcm"}
ALWAYS_UNCERTAIN = ("png", "tiff")  # their uncertainty is written without being asked for
OVERLAY = "_overlay.png"
STATISTICS = "_statistics.json"
PREVIEW = "_preview.png"


class Extras(NamedTuple):
    """The files written for each case beside its labels."""

    probability: bool = False
    uncertainty: bool = False
    overlay: bool = False
    statistics: bool = False
    preview: bool = False
    classes: tuple[str, ...] = ()
    """names of the only classes that are written; none for all"""


NOTHING_MORE = Extras()


def file_names(folder: Path) -> list[str]:
    """Return the names of the files in a folder; none if it is not there."""
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def stems_of(names: Iterable[str], format: str) -> set[str]:
    """Return the stems of all predictions of a format among the names of files."""
    ending = ENDINGS[format]
    stems = [name.removesuffix(ending) for name in names if name.endswith(ending)]
    return {re.sub(r"_labels(_.*)?$", "", stem) for stem in stems}


def names_of(names: Sequence[str], stem: str) -> list[str]:
    """Return the names that may be files of a case, out of sorted ones, without passing over all.

    Of a hundred thousand cases each is found as quickly as of ten.
    """
    found = []
    for following in (f"{stem}.", f"{stem}_"):
        number = bisect_left(names, following)
        while number < len(names) and names[number].startswith(following):
            found.append(names[number])
            number += 1
    return found


def may_be_finished(folder: Path, stem: str, formats: Sequence[str], first_plane: str) -> bool:
    """Return whether labels of a case are there, in each format, without listing the folder.

    `first_plane` is the name that the first plane has in the names of files.
    """
    bases = (stem, f"{stem}_labels", f"{stem}_labels_{first_plane}")
    return all(
        any((folder / f"{base}{ENDINGS[format]}").exists() for base in bases) for format in formats
    )


def is_finished(
    names: Iterable[str], stem: str, formats: Sequence[str], extras: Extras = NOTHING_MORE
) -> bool:
    """Return whether all that is asked for of a case is among the names of files.

    Labels are the last file of a case to appear (see write_prediction), so where they are, all that
    was asked for in that run is there.
    """
    # The patterns are those of every case, so that each is compiled once.
    rests = [name[len(stem) :] for name in names if name.startswith(stem)]
    return all(
        any(re.fullmatch(pattern, rest) for rest in rests) for pattern in _patterns(formats, extras)
    )


def _patterns(formats: Sequence[str], extras: Extras) -> list[str]:
    """Return a regular expression for what follows the stem in each file of a finished case."""
    patterns = []
    for format in formats:
        ending = re.escape(ENDINGS[format])
        in_one = format in ("nifti", "npz", "dicom")
        plane = r"(_\d+-.*)?"
        patterns.append(rf"(_labels{plane}){'?' if in_one else ''}{ending}")
        if format == "npz":
            continue
        soft = re.escape(ENDINGS["nifti"]) if format == "dicom" else ending
        if extras.probability:
            patterns.append(rf"_probability{plane}{soft}")
        if extras.uncertainty or format in ALWAYS_UNCERTAIN:
            patterns.append(rf"_uncertainty{plane}{soft}")
    if extras.overlay:
        patterns.append(re.escape(OVERLAY))
    if extras.statistics:
        patterns.append(re.escape(STATISTICS))
    if extras.preview:
        patterns.append(re.escape(PREVIEW))
    return patterns
