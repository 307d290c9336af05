"""How a session starts: from the model's own prediction, or from another's result."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Num

from hidiff.correction.history import History
from hidiff.correction.maps import SessionMaps
from hidiff.correction.session import Session
from hidiff.correction.settings import CorrectionSettings
from hidiff.images import GivenImage, Image, Priors, picture_traits, read_mask
from hidiff.labels import Labels
from hidiff.prediction import Predictor
from hidiff.prediction.seen import SeenWindows
from hidiff.prediction.slices import read_given_prior

MB = 2**20


def start_session(
    predictor: Predictor,
    image: GivenImage,
    *,
    mask: Any = None,
    prior: np.ndarray | Path | str | None = None,
    name: str | None = None,
    spacing_mm: Sequence[float | int] | None = None,
    affine: Num[np.ndarray, "4 4"] | None = None,
    value_range: tuple[float | int, float | int] | None = None,
    refine: bool | None = None,
    settings: CorrectionSettings | None = None,
    **changes: Any,
) -> Session:
    """Return a session; the arguments are those of `Model.correct`."""
    if mask is not None and prior is not None:
        raise ValueError("mask and prior both say what to start from: leave one out.")
    settings = settings or CorrectionSettings()
    opened = predictor.open(
        image, spacing_mm=spacing_mm, affine=affine, value_range=value_range, name=name
    )
    bits = None
    if mask is not None:
        bits = read_given_mask(mask, predictor.labels, opened.opened)
        opened = opened.with_prior(torch.zeros(bits.shape))
    elif prior is not None:
        priors = predictor.priors or Priors()
        opened = opened.with_prior(read_given_prior(prior, predictor.labels, priors, opened.opened))
    elif predictor.priors is not None:
        raise ValueError(
            "this model refines the results of another one, and none came with the image. Give "
            "prior= (probabilities) or mask=."
        )
    keep = SeenWindows(settings.cache_mb * MB)
    refine = predictor.refines if refine is None else refine
    chosen = predictor.change_settings(changes)
    maps = SessionMaps(predictor, opened, chosen, refine, keep, bits)
    return Session(maps, settings, History())


def read_given_mask(mask: Any, labels: Labels, image: Image) -> Bool[np.ndarray, "k d h w"]:
    """Return the bits of a mask: a file of the image's classes, or labels as a session has them.

    Raises ValueError for a mask that does not fit.
    """
    geometry = image.geometry
    if isinstance(mask, str | Path):
        source = mask if image.path is None else image.path
        values = read_mask(mask, geometry, source)
        try:
            return labels.encode_bool(values, lossy=picture_traits(mask).lossy)
        except ValueError as error:
            raise ValueError(f"{mask}: {error}") from error
    values = np.asarray(mask.detach().cpu() if hasattr(mask, "detach") else mask)
    planes = (labels.num_planes,) if labels.kind == "regions" else ()
    if values.shape != (*planes, *geometry.native_shape):
        came = "x".join(map(str, values.shape))
        wanted = "x".join(map(str, (*planes, *geometry.native_shape)))
        raise ValueError(f"the mask is {came}, but {wanted} is wanted, as the labels of the image.")
    most = labels.num_planes - 1 if labels.kind == "exclusive" else None
    whole = values.dtype.kind in "bui" or bool((values == np.floor(values)).all())
    if not whole or (most is not None and not ((values >= 0) & (values <= most)).all()):
        raise ValueError(
            f"the mask holds values from {values.min():g} to {values.max():g}, but whole numbers "
            f"from 0 to {most or 1} are wanted: {', '.join(labels.plane_names)}. Give the file of "
            "a mask by its path, and its values are read as the model's classes."
        )
    cut = geometry.from_native(values)
    if labels.kind == "exclusive":
        return cut[None] == np.arange(labels.num_planes).reshape(-1, 1, 1, 1)
    bits = cut > 0
    return np.ascontiguousarray(bits if labels.kind == "regions" else bits[None])
