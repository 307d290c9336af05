"""Settings that a data set's fingerprint suggests, each with the reason for it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import ValidationError

from hidiff.images import DataError
from hidiff.images.grid import PLANES, Plane
from hidiff.inspection.fingerprint import Fingerprint
from hidiff.inspection.mask_values import MaskValues, propose_labels
from hidiff.inspection.places import sided_names
from hidiff.labels import Labels

# Slices further apart than so many times their pixels show little of one another.
THICK = 3.0
# Spacings that differ by more than this share between cases are brought to one.
SPREAD = 0.1
HOUNSFIELD = -200.0  # values below this are of CT: air is -1000


def known_labels(
    labels: Labels | None, settings: Mapping[str, Any]
) -> tuple[Labels | None, tuple[int, ...]]:
    """Return the classes of a folder's own files with a person's settings, and what is ignored.

    The classes are None where neither tells them. Raises ValueError for settings that do not hold.
    """
    if labels is not None:
        labels = _make_labels({**labels.model_dump(exclude_unset=True), **settings})
        return labels, labels.ignore
    classes = settings.get("classes")
    if classes is None and settings.get("threshold") is not None:
        classes = {"object": (255,)}
    if classes is not None:
        kind = "one_class" if len(classes) == 1 else "exclusive"
        labels = _make_labels({"kind": kind, "classes": classes, **settings})
        return labels, labels.ignore
    ignore = _make_labels(
        {"kind": "one_class", "classes": {"object": (2**62,)}, "ignore": settings.get("ignore")}
    ).ignore
    return None, ignore


def _make_labels(settings: Mapping[str, Any]) -> Labels:
    try:
        return Labels.model_validate(settings)
    except ValidationError as error:
        lines = [
            f"labels.{'.'.join(map(str, each['loc']))}".rstrip(".")
            + f": {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors()
        ]
        raise DataError("; ".join(lines)) from None


def choose_labels(found: Fingerprint, ignore: tuple[int, ...] = ()) -> tuple[Labels, str]:
    """Return the classes that the masks' values suggest, and why.

    Raises DataError with a question where the values can be read in several ways.
    """
    values = found.masks
    if values is None:
        values = MaskValues.of_shares(found.values, labelled=found.volumes)
    proposal = propose_labels(values, ignore)
    if proposal.question:
        raise DataError(proposal.question)
    if proposal.labels is None:
        raise DataError("every mask is empty: there is nothing to learn. Check the masks.")
    ignored = f"; {', '.join(map(str, ignore))} is ignored" if ignore else ""
    doubt = proposal.warning or values.inverted or "".join(values.recoloured[:1])
    return proposal.labels, f"{doubt or 'by the values in the masks'}{ignored}"


def choose_channels(found: Fingerprint, channel_names: Sequence[str]) -> tuple[int, str]:
    usual = found.channels.most_common(1)[0][0]
    if len(found.channels) > 1 and not set(found.channels) <= {1, 3}:
        raise DataError(
            f"the images have {sorted(found.channels)} channels, but one number is wanted. "
            "Take the others out, or convert them."
        )
    names = f" ({', '.join(channel_names)})" if channel_names else ""
    return usual, f"{found.channels[usual]} of {found.cases} images have as many{names}"


def is_ct(found: Fingerprint, channel_names: Sequence[str]) -> bool:
    return found.low < HOUNSFIELD or "ct" in [name.lower() for name in channel_names]


def choose_intensity(
    found: Fingerprint, channel_names: Sequence[str]
) -> tuple[dict[str, Any], str]:
    if is_ct(found, channel_names):
        low, high = (round(end) for end in found.foreground)
        return (
            {"kind": "window", "window": [low, max(high, low + 1)]},
            "CT in HU: what lies under the masks, from its 0.5th to its 99.5th percentile",
        )
    if not found.volumes and found.low >= 0 and set(found.types) <= {"uint8", "bool"}:
        return {"kind": "unit"}, "8-bit pictures have one scale"
    if found.volumes and set(found.types) <= {"uint8"}:
        return {"kind": "zscore"}, "8-bit volumes: each was scaled in its own way"
    return {"kind": "zscore"}, "grey values without a fixed scale (MRI, 16 bit)"


def choose_plane(found: Fingerprint) -> tuple[Plane, str]:
    """Return the plane whose slices lie furthest apart, if the difference is clear; else axial."""
    apart: Mapping[Plane, float] = {
        plane: float(np.median([_thickness(grid, plane) for grid in found.grids]))
        for plane in PLANES
    }
    thickest = max(apart, key=lambda plane: apart[plane])
    if apart[thickest] > 1.5:
        return thickest, f"its slices lie {apart[thickest]:.1f} pixels apart: it was scanned so"
    return "axial", "the voxels are nearly cubes, so no plane is the sharpest"


def _thickness(grid: Any, plane: Plane) -> float:
    depth, rows, columns = grid.slice_spacing_mm(plane)
    return depth / min(rows, columns)


def choose_neighbours(found: Fingerprint, plane: Plane) -> tuple[int, str]:
    thickness = float(np.median([_thickness(grid, plane) for grid in found.grids]))
    if all(grid.slice_shape(plane)[0] == 1 for grid in found.grids):
        return 0, "each volume is a single slice"
    if thickness > THICK:
        return 0, f"slices lie {thickness:.1f} pixels apart, and tell little of one another"
    return 1, f"slices lie {thickness:.1f} pixels apart: the next ones help"


def choose_spacing(found: Fingerprint, plane: Plane) -> tuple[list[float] | None, str]:
    sides = np.array([grid.slice_spacing_mm(plane)[1:] for grid in found.grids])
    middle = median_spacing(found, plane)
    spread = float(np.abs(sides / middle - 1).max())
    square = float(middle.max() / middle.min())
    if spread <= SPREAD and square <= 1 + SPREAD:
        return None, ""
    side = [round(float(middle.min()), 4)] * 2 if square > 1 + SPREAD else middle.round(4).tolist()
    return side, f"in-plane spacings differ by up to {max(spread, square - 1):.0%}: brought to one"


def median_spacing(found: Fingerprint, plane: Plane) -> Float[np.ndarray, "2"]:
    """Return the median spacing of rows and columns, in mm."""
    return np.median([grid.slice_spacing_mm(plane)[1:] for grid in found.grids], axis=0)


def typical_size(found: Fingerprint, data: Mapping[str, Any]) -> tuple[int, int]:
    """Return rows and columns of the median image, after resampling."""
    if data.get("size"):
        rows, columns = data["size"]
        return rows, columns
    if not found.volumes:
        rows, columns = np.median(found.sizes, axis=0).astype(int).tolist()
        return rows, columns
    plane, target = data["plane"], data.get("spacing_mm")
    sizes = []
    for grid in found.grids:
        size = np.array(grid.slice_shape(plane)[1:], dtype=float)
        if target:
            size *= np.array(grid.slice_spacing_mm(plane)[1:]) / target
        sizes.append(size)
    rows, columns = np.median(sizes, axis=0).round().astype(int).tolist()
    return rows, columns


def choose_augmentation(
    found: Fingerprint, channel_names: Sequence[str], labels: Labels
) -> tuple[Any, str]:
    """Return how patches are changed in training, and why."""
    if not found.volumes:
        return _picture_augmentation(found, labels)
    shape = {"affine": 0.5, "rotation_degrees": 20.0, "zoom": 0.2}
    if is_ct(found, channel_names):
        return {**shape, "noise": 0.2}, "CT: a body lies one way up, and HU are fixed"
    return (
        {**shape, "gamma": 0.3, "contrast": 0.3, "brightness": 0.3, "noise": 0.2},
        "a body lies one way up; brightness is arbitrary",
    )


def _picture_augmentation(found: Fingerprint, labels: Labels) -> tuple[Any, str]:
    """Mirror and turn pictures only where neither changes what they show."""
    shape = {"affine": 0.5, "rotation_degrees": 15.0, "zoom": 0.15}
    sided = sided_names(labels.class_names)
    if sided:
        return shape, f"no mirroring: {', '.join(sided)} is on one side of the body"
    if found.mirrored is not None and len(labels.class_names) > 1:
        first, second = (_class_of(value, labels) for value in found.mirrored)
        return shape, (
            f"no mirroring: {first} and {second} may be a left and a right one, as they are of "
            "like size and their places mirror each other"
        )
    if found.grey:
        return (
            {**shape, "flip_horizontal": 0.5},
            "grey pictures, as of CT, MR or X-ray, lie one way up: small rotations, and left may "
            "stand for right",
        )
    return "flip_rotate", "pictures in colour may lie any way up"


def _class_of(value: int, labels: Labels) -> str:
    return next((name for name, values in labels.classes.items() if value in values), str(value))


def spacing_is_lost(found: Fingerprint) -> bool:
    """Return whether every volume's voxels are 1 x 1 x 1 mm, as where a spacing was not kept."""
    return bool(found.grids) and all(
        np.allclose(grid.spacing_mm, 1.0, atol=1e-6) for grid in found.grids
    )
