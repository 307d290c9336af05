"""Probability maps of another model as the prior: read from files; hard masks are softened."""

from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field

from hidiff.images.files import DataError, ImageFiles, first_file
from hidiff.images.formats import format_of, read_mask
from hidiff.images.geometry import Geometry
from hidiff.images.mask_values import picture_traits
from hidiff.images.pictures import ARRAYS, PICTURES
from hidiff.images.volume_format import VOLUMES
from hidiff.labels import Labels

ROUNDING = 1e-3  # how far beyond 0 or 1 a probability in half precision may lie
CHANNEL_NUMBER = "_0000"  # which nnU-Net adds to an image's name, and not to its result's


class Priors(BaseModel):
    """The folder and the kind of another model's results (segmentor.name: files)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str = Field(
        default="priors",
        description="in the data set's folder, or a whole path: a file a case, of the case's name",
    )
    kind: Literal["probability", "mask"] = Field(
        default="probability",
        description="probability: maps (npz and npy of planes, rows, columns, such as nnU-Net's; "
        "of one plane also pictures of 8 or 16 bits); mask: hard masks, whose edges are softened",
    )
    softness_px: float = Field(
        default=2.0,
        gt=0,
        description="mask: the probability is 1 / (1 + exp(-d / softness)), d the distance in "
        "pixels to the mask's edge, positive inside",
    )
    least: float = Field(
        default=0.01,
        gt=0,
        lt=0.5,
        description="mask: no probability is below this, or above 1 minus this",
    )


def find_prior(folder: Path, name: str, kind: str) -> Path:
    """Return the file of a case's prior; `kind` tells map from mask, which nnU-Net names alike."""
    masks = (*PICTURES, *VOLUMES)
    endings = (*ARRAYS, *masks) if kind == "probability" else (*masks, *ARRAYS)
    stem = name.removesuffix(CHANNEL_NUMBER)
    for ending in endings:
        for case in (name, stem):
            if (folder / f"{case}{ending}").is_file():
                return folder / f"{case}{ending}"
    raise DataError(
        f"{folder} holds no prior of {name}: {stem}.npz or another of {', '.join(endings)} is "
        "wanted. Write it there, or name another folder (data.priors.folder, --prior)."
    )


def read_prior(
    path: Path | str, labels: Labels, priors: Priors, geometry: Geometry, image: ImageFiles
) -> Float[np.ndarray, "k d h w"]:
    """Read the probability of each mask plane; `geometry` is that of its `image`.

    The file of a volume's prior is a volume of k channels on its grid, or an array (k, z, y, x) of
    nnU-Net. Raises DataError for a file that does not fit.
    """
    path = Path(path)
    if priors.kind == "mask":
        try:
            bits = labels.encode_bool(
                read_mask(path, geometry, image), lossy=picture_traits(path).lossy
            )
        except DataError:
            raise
        except ValueError as error:
            raise DataError(f"{path}: {error}") from None
        return soften(bits, labels, priors)
    maps = format_of(image).read_maps(path, geometry, image)
    planes = check_prior(maps, labels, str(path), len(geometry.native_shape))
    if planes.shape[1:] != geometry.native_shape:
        came, wanted = ("x".join(map(str, s)) for s in (planes.shape[1:], geometry.native_shape))
        raise DataError(
            f"{path} is {came}, but its image {first_file(image)} is {wanted}. Check that they "
            "belong together, and resize one."
        )
    return np.ascontiguousarray(geometry.from_native(planes))


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
    least, most = float(planes.min()), float(planes.max())
    if not (least >= -ROUNDING and most <= 1 + ROUNDING):  # false for NaN too
        raise DataError(
            f"{source} holds values from {least:g} to {most:g}, but probabilities, 0 to 1, are "
            "wanted: of logits, write the softmax or sigmoid."
        )
    return planes.clip(0, 1)


def soften(
    bits: Bool[np.ndarray, "k d h w"], labels: Labels, priors: Priors
) -> Float[np.ndarray, "k d h w"]:
    """Turn a hard mask into a prior: doubt falls with the distance from the edge, and never ends.

    Distances are in pixels, slice by slice. The edge runs between pixels: those beside it are half
    a pixel away. A slice that is all or nothing has no edge, and gets the least doubt everywhere.
    """
    softened = np.stack([[_soften_slice(mask, priors) for mask in plane] for plane in bits])
    planes = softened.clip(priors.least, 1 - priors.least)
    if labels.kind == "exclusive":
        planes = planes / planes.sum(axis=0, keepdims=True)
    return planes.astype(np.float32)


def _soften_slice(mask: Bool[np.ndarray, "h w"], priors: Priors) -> Float[np.ndarray, "h w"]:
    # SciPy takes a while to import, and most models take no priors from files.
    from scipy.ndimage import distance_transform_edt

    if mask.all() or not mask.any():
        distance = np.where(mask, np.inf, -np.inf)
    else:
        # SciPy takes a while to import, and most models take no priors from files.
        from scipy.ndimage import distance_transform_edt

        inside = np.asarray(distance_transform_edt(mask))
        outside = np.asarray(distance_transform_edt(~mask))
        distance = np.where(mask, inside - 0.5, 0.5 - outside)
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-distance / priors.softness_px))
