"""Results of nnU-Net: the probabilities of `--save_probabilities`, beside a segmentation.

The .pkl is never read. The array has the axes (channels, z, y, x) of what nnU-Net's reader made of
the image, with crops undone and transposed back. The segmentation beside it, which lies on the grid
of the image, says how they lie in space, and must be what the probabilities say.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer, Num

from hidiff.images.files import DataError
from hidiff.images.geometry import VolumeGeometry
from hidiff.images.grid import Grid, Plane, turn_axes
from hidiff.images.image import Image
from hidiff.images.label_names import Names, find_beside, read_label_names
from hidiff.images.mapped import list_npz, read_npz
from hidiff.images.mask_values import whole_numbers
from hidiff.images.prior_channels import Channels, name_shape, region_channels, value_channels
from hidiff.images.volume_format import VOLUMES

KEY = "probabilities"
PLANS = "plans.json"


@dataclass(frozen=True)
class Segmentation:
    """nnU-Net's own segmentation of a case, with the axes of its file."""

    path: Path
    values: Integer[np.ndarray, "x y z"]
    grid: Grid


def is_nnunet_result(path: Path) -> bool:
    """Return whether a file is nnU-Net's archive of probabilities."""
    return path.suffix.lower() == ".npz" and path.is_file() and list_npz(path) == [KEY]


def companions(path: Path) -> tuple[Path, ...]:
    """Return the files that a case's probabilities are read with, where they are there."""
    found = [
        find_segmentation(path),
        find_beside(path, [PLANS]),
        find_beside(path, ["dataset.json"]),
    ]
    return tuple(file for file in found if file is not None)


def find_segmentation(path: Path) -> Path | None:
    """Return the segmentation beside an archive, a file of the same name; None without one."""
    for ending in VOLUMES:
        file = path.with_name(path.stem + ending)
        if file.is_file():
            return file
    return None


def read_nnunet_result(path: Path, plane: Plane) -> tuple[Image, Channels]:
    """Return the probabilities of a case on the grid of nnU-Net's segmentation, and their meaning.

    Raises DataError where the two disagree in a single voxel.
    """
    file = find_segmentation(path)
    if file is None:
        raise DataError(
            f"{path} has no segmentation of nnU-Net beside it ({path.stem}.nii.gz), which says how "
            "its axes lie. Copy both from nnU-Net's folder, with plans.json and dataset.json."
        )
    segmentation = _read_segmentation(file)
    maps = read_npz(path, KEY)
    if maps.ndim != 4:
        raise DataError(
            f"{path} has the shape {maps.shape}, but (channels, z, y, x) is wanted, as nnU-Net "
            "writes it."
        )
    names, order = _read_labels(path)
    channels = region_channels(names) if order else value_channels(names, len(maps))
    if len(channels.values) != len(maps):
        raise DataError(
            f"{path} has {len(maps)} channels, but dataset.json beside it names "
            f"{len(channels.values)} regions. Put the one of the same model there."
        )
    found = _place(path, maps, segmentation, channels, order)
    geometry = VolumeGeometry(segmentation.grid, plane)
    return Image(geometry.from_native(found), geometry, path), channels


def _place(
    path: Path,
    maps: Num[np.ndarray, "c z y x"],
    segmentation: Segmentation,
    channels: Channels,
    order: Sequence[int],
) -> Num[np.ndarray, "c u v w"]:
    """Return the maps with the axes of the segmentation's file, checked voxel for voxel."""
    reader = _reader(path)
    agreeing, differing = [], None
    for turned in _candidates(reader, maps, segmentation.grid):
        if turned.shape[1:] == segmentation.grid.shape:
            count = _count_differing(turned, segmentation.values, channels, order)
            differing = count if differing is None else min(count, differing)
            if count == 0:
                agreeing.append(turned)
                if reader:
                    break
    if len(agreeing) > 1:
        raise DataError(
            f"{path} may have its axes in two ways, and {PLANS} is missing, which says how "
            f"nnU-Net read the image. Copy it from nnU-Net's folder to {path.parent}."
        )
    if agreeing:
        return agreeing[0]
    came = f"{path} has the shape {maps.shape} (channels, z, y, x)"
    wanted = f"{segmentation.path} beside it is {name_shape(segmentation.grid.shape)} (x, y, z)"
    reason = "" if differing is None else (
        f", and {differing} voxels of the segmentation are not what the probabilities say"
    )  # fmt: skip
    raise DataError(
        f"{came}, and {wanted}{reason}. Both must come from one run of nnU-Net, before any "
        "postprocessing: predict again with --save_probabilities."
    )


def _candidates(
    reader: str, maps: Num[np.ndarray, "c z y x"], grid: Grid
) -> Iterator[Num[np.ndarray, "c u v w"]]:
    """Yield the maps with their axes as nnU-Net's readers may have had them, the likeliest first.

    Readers that reorient turn a volume to RAS before they count its axes backwards.
    """
    as_filed = maps.transpose(0, 3, 2, 1)
    upright = Grid(grid.shape, np.eye(4))
    shape = turn_axes(np.broadcast_to(False, grid.shape), grid, upright)[1].shape
    reoriented = turn_axes(as_filed, Grid(shape, np.eye(4)), _directions(grid))[0]
    if grid.axes == "RAS":
        yield as_filed
    elif "Reorient" in reader:
        yield from (reoriented, as_filed)
    else:
        yield from (as_filed, reoriented)


def _directions(grid: Grid) -> Grid:
    """Return a grid of the same axes with voxels of 1 mm, none of them oblique."""
    affine = np.eye(4)
    for axis, letter in enumerate(grid.axes):
        row = "RLAPSI".index(letter) // 2
        affine[:3, axis] = 0
        affine[row, axis] = 1 if letter in "RAS" else -1
    return Grid(grid.shape, affine)


def _count_differing(
    maps: Num[np.ndarray, "c x y z"],
    segmentation: Integer[np.ndarray, "x y z"],
    channels: Channels,
    order: Sequence[int],
) -> int:
    """Count the voxels whose label is not the likeliest; of equally likely ones each will do."""
    number_of = {values[0]: number for number, values in enumerate(channels.values)}
    count = 0
    for depth in range(maps.shape[-1]):
        part, labels = np.asarray(maps[..., depth]), segmentation[..., depth]
        if order:
            painted = np.zeros(labels.shape, labels.dtype)
            for bits, value in zip(part > 0.5, order, strict=True):
                painted[bits] = value
            count += int(np.count_nonzero(painted != labels))
            continue
        for value in np.unique(labels).tolist():
            inside = labels == value
            number = number_of.get(value)
            if number is None:
                count += int(np.count_nonzero(inside))
            else:
                here = part[:, inside]
                count += int(np.count_nonzero(here[number] < here.max(axis=0)))
    return count


def _read_segmentation(path: Path) -> Segmentation:
    format = next(VOLUMES[ending] for ending in VOLUMES if path.name.lower().endswith(ending))
    volume = format.read_voxels(path, "mask")
    values = whole_numbers(path, volume.values[0])
    return Segmentation(path, values, volume.grid)


def _reader(path: Path) -> str:
    """Return the name of the reader in plans.json; empty without one."""
    return str(_read_content(find_beside(path, [PLANS])).get("image_reader_writer", ""))


def _read_labels(path: Path) -> tuple[Names, tuple[int, ...]]:
    """Return the classes in dataset.json, and for regions the order in which they are painted."""
    file = find_beside(path, ["dataset.json"])
    names = read_label_names(path)
    if not any(len(values) > 1 for values in names.values()):
        return names, ()
    order = _read_content(file).get("regions_class_order")
    if not isinstance(order, list) or len(order) != len(names):
        raise DataError(
            f"{file} has regions, but no regions_class_order with a value for each of them, as "
            "nnU-Net wants it. Add it."
        )
    return names, tuple(int(value) for value in order)


def _read_content(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} does not read as JSON ({error}). Copy it again.") from None
    return content if isinstance(content, dict) else {}
