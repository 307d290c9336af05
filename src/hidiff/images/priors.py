"""Another model's results as the prior: found by the case's name, read from files, softened."""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field

from hidiff.images.files import DataError, ImageFiles, first_file, visible_files
from hidiff.images.foreign_results import read_foreign_bits, read_foreign_maps
from hidiff.images.formats import format_of
from hidiff.images.geometry import Geometry
from hidiff.images.label_names import find_beside
from hidiff.images.nnunet_results import companions
from hidiff.images.pictures import ARRAYS, PICTURES
from hidiff.images.prior_channels import check_probabilities, name_shape
from hidiff.images.softening import soften_slices, soften_volume
from hidiff.images.volume_format import VOLUMES
from hidiff.labels import Labels

CHANNEL_NUMBER = "_0000"  # which nnU-Net adds to an image's name, and not to its result's
FOLDS = "fold_*/validation"  # where nnU-Net's cross-validation leaves results of held-out cases
FILE_EACH = "_probability_"  # between the case's name and the class's, as we write them ourselves

PriorFiles = ImageFiles
"""one file, a file per plane, or a folder with a file per class"""


class Priors(BaseModel):
    """The folder and the kind of another model's results (segmentor.name: files)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str = Field(
        default="priors",
        description="folder of the priors, a name in the data set's folder or a path: one file per "
        "case, named like it; or a model folder of nnU-Net, whose folds hold held-out results",
    )
    kind: Literal["probability", "mask"] = Field(
        default="probability",
        description="probability: maps (npz and npy of planes, rows, columns, such as nnU-Net's; "
        "NIfTI of several channels or a file per class; of one plane also pictures of 8 or 16 "
        "bits); mask: hard masks, whose edges are softened",
    )
    softness_px: float = Field(
        default=2.0,
        gt=0,
        description="mask: the probability is 1 / (1 + exp(-d / softness)), d the distance in "
        "pixels to the mask's edge, positive inside",
    )
    softness_mm: float | None = Field(
        default=None,
        gt=0,
        description="mask, of volumes: the same with d in millimetres, in all three directions; "
        "left out: pixels, slice by slice, as where the spacing is lost",
    )
    least: float = Field(
        default=0.01,
        gt=0,
        lt=0.5,
        description="mask: no probability is below this, or above 1 minus this",
    )
    values: Mapping[str, tuple[int, ...]] | None = Field(
        default=None,
        description="mask: the values of each class in the other model's label maps; left out: "
        "found by the classes' names where the files name theirs, else those of labels.classes",
    )


def find_prior(folder: Path, name: str, kind: str) -> PriorFiles:
    """Return the files of a case's prior; `kind` tells map from mask, which nnU-Net names alike.

    In the folder of a model that nnU-Net trained, the folds hold them. Raises DataError for a case
    without one, and for one in two folds.
    """
    folds = _folds_of(folder, folder.stat().st_mtime_ns) if folder.is_dir() else ()
    found = {
        place: prior
        for place in (folds or [folder])
        if (prior := _find_in(place, name, kind)) is not None
    }
    if len(found) > 1:
        first, second = list(found)[:2]
        raise DataError(
            f"{name} has a prior in both {first} and {second}, but only one fold held it out. Take "
            "the other out."
        )
    if found:
        return next(iter(found.values()))
    stem = name.removesuffix(CHANNEL_NUMBER)
    endings = ", ".join(_endings(kind))
    raise DataError(
        f"{folder} holds no prior of {name}: {stem}.npz or another of {endings} is "
        "wanted. Write it there, or name another folder (data.priors.folder, --prior)."
    )


def prior_folder(prior: PriorFiles) -> Path:
    """Return the folder in which `find_prior` finds a prior, and those of the other cases."""
    folder = first_file(prior).parent
    return folder.parents[1] if folder.match(FOLDS) else folder


def _endings(kind: str) -> tuple[str, ...]:
    masks = (*PICTURES, *VOLUMES)
    return (*ARRAYS, *masks) if kind == "probability" else (*masks, *ARRAYS)


def _find_in(folder: Path, name: str, kind: str) -> PriorFiles | None:
    """Return the prior of a case in one folder: a file, a file per class, or a folder of them."""
    stems = (name, name.removesuffix(CHANNEL_NUMBER))
    if kind == "probability" and folder.is_dir():
        arrays = [folder / f"{case}{ending}" for ending in ARRAYS for case in stems]
        planes = _files_of_planes(folder, folder.stat().st_mtime_ns)
        if not any(file.is_file() for file in arrays):
            for case in stems:
                if case in planes:
                    return planes[case]
    for ending in _endings(kind):
        for case in stems:
            if (folder / f"{case}{ending}").is_file():
                return folder / f"{case}{ending}"
    return next((folder / case for case in stems if (folder / case).is_dir()), None)


@lru_cache(maxsize=8)
def _folds_of(folder: Path, changed: int) -> tuple[Path, ...]:
    """Return the folders of nnU-Net's folds; a folder is listed once, until it has `changed`."""
    return tuple(sorted(folder.glob(FOLDS)))


@lru_cache(maxsize=8)
def _files_of_planes(folder: Path, changed: int) -> dict[str, tuple[Path, ...]]:
    """Return CASE_probability_0-NAME.nii.gz and the others like it, by case and number.

    A folder is listed once, however many cases it holds, until it has `changed`.
    """
    numbered: dict[str, dict[int, Path]] = {}
    for file in visible_files(folder):
        case, mark, rest = file.name.rpartition(FILE_EACH)
        number = re.match(r"\d+", rest)
        if mark and number:
            numbered.setdefault(case, {})[int(number.group())] = file
    return {
        case: tuple(files[number] for number in sorted(files)) for case, files in numbered.items()
    }


def prior_files(prior: PriorFiles | None) -> tuple[Path, ...]:
    """Return every file that a prior is read from: a case's own, and those that explain them."""
    if prior is None:
        return ()
    files = tuple(map(Path, prior)) if isinstance(prior, tuple) else (Path(prior),)
    more = companions(files[0]) if files[0].suffix.lower() == ".npz" else ()
    table = find_beside(files[0], ("labels.json", "labels.csv", "dataset.json"))
    return (*files, *more, *(() if table is None or table in more else (table,)))


def read_prior(
    prior: PriorFiles, labels: Labels, priors: Priors, geometry: Geometry, image: ImageFiles
) -> Float[np.ndarray, "k d h w"]:
    """Read the probability of each mask plane; `geometry` is that of its `image`.

    A large volume's lies on the disk, mapped into memory. The files of a volume's prior lie on its
    grid, but for the order and direction of their axes; arrays that nobody explains have the axes
    (k, z, y, x). Raises DataError for files that do not fit.
    """
    if priors.kind == "mask":
        bits = _read_bits(prior, labels, priors, geometry, image)
        return soften(bits, labels, priors, geometry.spacing_mm)
    found = read_foreign_maps(prior, labels, geometry, image)
    if found is not None:
        return found
    path = first_file(prior)
    maps = format_of(image).read_maps(path, geometry, image)
    planes = check_prior(maps, labels, str(path), len(geometry.native_shape))
    if planes.shape[1:] != geometry.native_shape:
        came, wanted = (name_shape(shape) for shape in (planes.shape[1:], geometry.native_shape))
        raise DataError(
            f"{path} is {came}, but its image {first_file(image)} is {wanted}. Check that they "
            "belong together, and resize one."
        )
    return np.ascontiguousarray(geometry.from_native(planes))


def _read_bits(
    prior: PriorFiles, labels: Labels, priors: Priors, geometry: Geometry, image: ImageFiles
) -> Bool[np.ndarray, "k d h w"]:
    try:
        return read_foreign_bits(prior, labels, priors.values, geometry, image)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(
            f"{first_file(prior)}: {error} Or set data.priors.values, if the other model uses "
            "values of its own."
        ) from None


def check_prior(
    values: np.ndarray, labels: Labels, source: str, num_axes: int = 2
) -> Float[np.ndarray, "k *native"]:
    """Return probabilities in float32, one map of `num_axes` axes for each plane of the labels.

    A missing first axis is added, and a needless second one, (k, 1, h, w) of nnU-Net's 2-D images,
    is dropped. Of one class two planes are taken for background and class. Raises DataError for an
    array that holds no such maps.
    """
    planes = values
    if planes.ndim == num_axes + 2 and planes.shape[1] == 1:
        planes = planes[:, 0]
    if planes.ndim == num_axes:
        planes = planes[None]
    if planes.ndim == num_axes + 1 and labels.kind == "one_class" and len(planes) == 2:
        planes = planes[1:]
    if planes.ndim != num_axes + 1 or len(planes) != labels.num_planes:
        axes = "rows, columns" if num_axes == 2 else "and the axes of the image"
        raise DataError(
            f"{source} has the shape {values.shape}, but ({labels.num_planes}, {axes}) is "
            f"wanted, a plane for each of {', '.join(labels.plane_names)}."
        )
    planes = np.ascontiguousarray(planes, dtype=np.float32)
    check_probabilities(planes, source)
    return planes.clip(0, 1)


def soften(
    bits: Bool[np.ndarray, "k d h w"],
    labels: Labels,
    priors: Priors,
    spacing_mm: tuple[float, float, float] | None = None,
) -> Float[np.ndarray, "k d h w"]:
    """Turn a hard mask into a prior: doubt falls with the distance from the edge, and never ends.

    Distances are in millimetres where the settings say so and the spacing is known, else in pixels,
    slice by slice.
    """
    exclusive = labels.kind == "exclusive"
    if priors.softness_mm is not None and spacing_mm is not None:
        return soften_volume(bits, spacing_mm, priors.softness_mm, priors.least, exclusive)
    return soften_slices(bits, priors.softness_px, priors.least, exclusive)
