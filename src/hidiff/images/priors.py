"""Probability maps of another model as the prior: read from files, hard masks softened."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from hidiff.images.files import DataError
from hidiff.images.pictures import ARRAYS, PICTURES, read_array, read_mask, read_planes
from hidiff.labels import Labels

ROUNDING = 1e-3  # how far beyond 0 or 1 a probability in half precision may lie
CHANNEL_NUMBER = "_0000"  # which nnU-Net adds to an image's name, and not to its result's


class Priors(BaseModel):
    """Where another model's results lie, and what they are (segmentor.name: files)."""

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
    """The prior of a case; `kind` chooses between map and mask, which nnU-Net names alike."""
    endings = ARRAYS + PICTURES if kind == "probability" else PICTURES + ARRAYS
    stem = name.removesuffix(CHANNEL_NUMBER)
    for ending in endings:
        for each in (name, stem):
            if (folder / f"{each}{ending}").is_file():
                return folder / f"{each}{ending}"
    raise DataError(
        f"{folder} holds no prior of {name}: {stem}.npz or another of {', '.join(endings)} is "
        "wanted. Write it there, or name another folder (data.priors.folder, --prior)."
    )


def read_prior(
    path: Path | str, labels: Labels, priors: Priors, size: tuple[int, int]
) -> Float[Tensor, "k h w"]:
    """The probability of each mask plane, for an image of that size (rows, columns)."""
    path = Path(path)
    if priors.kind == "mask":
        try:
            bits = labels.encode(read_mask(path)) > 0
        except DataError:
            raise
        except ValueError as error:
            raise DataError(f"{path}: {error}") from None
        planes = soften(bits, labels, priors)
    else:
        planes = check_prior(_read_maps(path), labels, str(path))
    if planes.shape[1:] != size:
        raise DataError(
            f"{path} is {planes.shape[1]}x{planes.shape[2]} (rows x columns), but its image is "
            f"{size[0]}x{size[1]}. Check that they belong together, and resize one."
        )
    return torch.from_numpy(planes)


def check_prior(values: np.ndarray, labels: Labels, source: str) -> Float[np.ndarray, "k h w"]:
    """Probabilities in float32, a plane of the labels each.

    (h, w) is one plane, (k, 1, h, w) nnU-Net's form of 2-D images. Of one class two planes are
    taken for background and class. Raises DataError for what is no such map.
    """
    planes = values
    if planes.ndim == 4 and planes.shape[1] == 1:
        planes = planes[:, 0]
    if planes.ndim == 2:
        planes = planes[None]
    if planes.ndim == 3 and labels.kind == "one_class" and len(planes) == 2:
        planes = planes[1:]
    if planes.ndim != 3 or len(planes) != labels.num_planes:
        raise DataError(
            f"{source} has the shape {values.shape}, but ({labels.num_planes}, rows, columns) is "
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
    bits: Bool[np.ndarray, "k h w"] | np.ndarray, labels: Labels, priors: Priors
) -> Float[np.ndarray, "k h w"]:
    """A hard mask as a prior: doubt falls with the distance from the edge, and never ends.

    The edge runs between pixels: those beside it are half a pixel away. A plane that is all or
    nothing has no edge, and gets the least doubt everywhere.
    """
    # SciPy takes a while to import, and most models take no priors from files.
    from scipy.ndimage import distance_transform_edt

    softened = []
    for plane in bits:
        if plane.all() or not plane.any():
            distance = np.where(plane, np.inf, -np.inf)
        else:
            inside = np.asarray(distance_transform_edt(plane))
            outside = np.asarray(distance_transform_edt(~plane))
            distance = np.where(plane, inside - 0.5, 0.5 - outside)
        with np.errstate(over="ignore"):
            softened.append(1 / (1 + np.exp(-distance / priors.softness_px)))
    planes = np.stack(softened).clip(priors.least, 1 - priors.least)
    if labels.kind == "exclusive":
        planes = planes / planes.sum(axis=0, keepdims=True)
    return planes.astype(np.float32)


def _read_maps(path: Path) -> np.ndarray:
    if path.suffix.lower() in ARRAYS:
        return read_array(path)
    planes = read_planes(path)
    if planes.dtype.kind not in "ui":
        return planes
    return planes.astype(np.float32) / np.iinfo(planes.dtype).max
