"""The grid of DICOM slices: a straight line through all of their positions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from hidiff.images.dicom_series import Slice
from hidiff.images.files import DataError
from hidiff.images.grid import Grid
from hidiff.images.voxels import check_affine, ras_of_lps

MOST_TILT = 0.1  # degrees
MOST_UNEVEN = 0.01  # of the way between two slices
# Positions are often rounded to 0.1 mm: then each is up to 0.05 mm off, in two directions.
ROUNDED_MM = 0.075
MOST_ROUNDED = 0.15  # of the way between two slices; a missing slice is 0.22 and more
# Spacing of pixels, in the order of how well it is known.
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


def sort_slices(slices: Sequence[Slice]) -> list[Slice]:
    """Return slices in the order of the volume's z: along the normal of rows and columns."""
    if len(slices) == 1:
        return list(slices)
    normal = _normal(slices[0].head)
    return sorted(slices, key=lambda slice: float(normal @ _position(slice.head)))


def find_grid(path: Path, slices: Sequence[Slice]) -> Grid:
    """Return where the voxels (column, row, slice) of slices lie that are in order."""
    head = slices[0].head
    remarks = []
    if str(head.get("PhotometricInterpretation")) == "MONOCHROME1":
        remarks.append("MONOCHROME1, where low values are white: the values are inverted")
    if head.get("ImagePositionPatient") is None:
        affine, projected = _projection(head)
        remarks += projected
    else:
        affine = _volume(path, slices)
    affine = ras_of_lps(affine)
    check_affine(path, affine)
    return Grid((int(head.Columns), int(head.Rows), len(slices)), affine, tuple(remarks))


def _projection(head: Any) -> tuple[Float[np.ndarray, "4 4"], list[str]]:
    """Return where the pixels of a projection would lie: rows go to the left, columns back."""
    name = next((name for name in SPACINGS if head.get(name)), None)
    remarks = ["the image has no position in the patient (a projection): it is read as one slice"]
    down, across = (1.0, 1.0) if name is None else (float(side) for side in head.get(name))
    if name is None:
        remarks.append("the header gives no size of pixels: they count as 1 mm")
    elif name != "PixelSpacing":
        remarks.append(f"pixels have the size at the detector ({name}), not in the patient")
    return np.diag([across, down, 1.0, 1.0]), remarks


def _volume(path: Path, slices: Sequence[Slice]) -> Float[np.ndarray, "4 4"]:
    head = slices[0].head
    along_row, along_column = _directions(head)
    down, across = (float(side) for side in head.PixelSpacing)
    step, first = _line(path, slices)
    affine = np.eye(4)
    affine[:3, 0] = along_row * across
    affine[:3, 1] = along_column * down
    affine[:3, 2] = step
    affine[:3, 3] = first
    return affine


def _line(
    path: Path, slices: Sequence[Slice]
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Return the way from one slice to the next, in mm, and the place of the first.

    Raises DataError where slices are tilted, or lie off the straight line through all of them.
    """
    head, count = slices[0].head, len(slices)
    normal = _normal(head)
    places = np.array([_position(slice.head) for slice in slices])
    if count == 1:
        thickness = head.get("SpacingBetweenSlices") or head.get("SliceThickness") or 1
        return normal * abs(float(thickness) or 1), places[0]
    numbers = np.arange(count) - (count - 1) / 2
    step = numbers @ places / (numbers @ numbers)
    centre = places.mean(axis=0)
    _check_even(path, slices, places @ normal, (centre + numbers[:, None] * step) @ normal)
    length = float(np.linalg.norm(step)) * (count - 1)
    sideways = float(np.linalg.norm(step - (step @ normal) * normal)) * (count - 1)
    # both ends may be rounded
    if sideways > max(length * np.sin(np.radians(MOST_TILT)), 2 * ROUNDED_MM):
        tilt = np.degrees(np.arcsin(min(sideways / length, 1)))
        raise DataError(
            f"{path} was taken with a tilted gantry: slices are shifted by {tilt:.2f} degrees "
            "against each other. Resample it to a straight volume first, e.g. with dcm2niix."
        )
    return step, centre + numbers[0] * step


def _check_even(
    path: Path,
    slices: Sequence[Slice],
    heights: Float[np.ndarray, " d"],
    even: Float[np.ndarray, " d"],
) -> None:
    """Raise DataError for slices whose heights are not as even as those of a straight line."""
    steps = np.diff(heights)
    usual = float(np.median(steps))
    names = [slice.name for slice in slices]
    if steps.min() < MOST_UNEVEN * max(usual, 1e-3):
        twice = int(steps.argmin())
        raise DataError(
            f"{path} holds two slices in one place: {names[twice]} and {names[twice + 1]}. Give "
            "each time point, or echo, a folder of its own."
        )
    allowed = max(MOST_UNEVEN * usual, min(ROUNDED_MM, MOST_ROUNDED * usual))
    if np.abs(heights - even).max() > allowed:
        odd = int(np.abs(steps - usual).argmax())
        raise DataError(
            f"{path} has mixed spacings: {steps[odd]:.4g} mm between {names[odd]} and "
            f"{names[odd + 1]}, {usual:.4g} mm between others. Add the missing slices, or resample "
            "the series."
        )


def _directions(head: Any) -> tuple[np.ndarray, np.ndarray]:
    values = np.array([float(each) for each in head.ImageOrientationPatient])
    return values[:3], values[3:]


def _normal(head: Any) -> np.ndarray:
    return np.cross(*_directions(head))


def _position(head: Any) -> np.ndarray:
    return np.array([float(each) for each in head.ImagePositionPatient])
