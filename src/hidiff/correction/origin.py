"""The model and the image of a session, and the hashes by which they are known again."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hidiff.images import Image
from hidiff.prediction import Ensemble, Predictor


@dataclass(frozen=True)
class Origin:
    """The files and options that a session was opened with."""

    model_paths: tuple[str, ...] = ()
    """the checkpoints; none for a predictor without a file"""
    image_paths: tuple[str, ...] = ()
    """a file for each channel; none for an image in memory"""
    spacing_mm: tuple[float, ...] | None = None
    affine: tuple[tuple[float, ...], ...] | None = None
    value_range: tuple[float, float] | None = None
    at: tuple[float, float, int] | None = None
    """row, column and slice of the crop that a model of crops sees"""


def make_origin(
    image: Image,
    model_paths: Sequence[object] = (),
    spacing_mm: Sequence[float | int] | None = None,
    affine: np.ndarray | None = None,
    value_range: Sequence[float | int] | None = None,
    at: Sequence[float | int] | None = None,
) -> Origin:
    """Return the origin of an opened image."""
    path = image.path
    files = () if path is None else path if isinstance(path, tuple) else (path,)
    rows = None if affine is None else np.asarray(affine, dtype=np.float64).tolist()
    return Origin(
        tuple(str(each) for each in model_paths),
        tuple(str(Path(each).absolute()) for each in files),
        None if spacing_mm is None else tuple(float(each) for each in spacing_mm),
        None if rows is None else tuple(tuple(row) for row in rows),
        None if value_range is None else (float(value_range[0]), float(value_range[1])),
        None if at is None else (float(at[0]), float(at[1]), int(at[2])),
    )


def hash_weights(predictor: Predictor) -> str:
    """Return the SHA-256 of a model's weights, of several models in their order."""
    digest = hashlib.sha256()
    members = predictor.members if isinstance(predictor, Ensemble) else [predictor]
    for member in members:
        for name, tensor in sorted(member.hybrid.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def hash_image(image: Image) -> str:
    """Return the SHA-256 of an image's values, and of where its voxels lie."""
    digest = hashlib.sha256(str(image.values.shape).encode())
    if image.grid is not None:
        digest.update(np.asarray(image.grid.affine, dtype=np.float64).tobytes())
    digest.update(np.ascontiguousarray(image.values, dtype=np.float32).data)
    return digest.hexdigest()
