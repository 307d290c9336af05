"""Start a session, from the model's own prediction or from another's result, or restore one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Num

from hidiff.correction.maps import SessionMaps
from hidiff.correction.origin import hash_image, hash_weights, make_origin
from hidiff.correction.session import Session
from hidiff.correction.session_file import SavedSession
from hidiff.correction.settings import MB, CorrectionSettings
from hidiff.images import GivenImage, Image, PriorFiles, Priors, picture_traits, read_mask
from hidiff.labels import Labels
from hidiff.loading import At
from hidiff.prediction import PredictionSettings, Predictor
from hidiff.prediction.seen import SeenWindows
from hidiff.prediction.slices import read_given_prior


def start_session(
    predictor: Predictor,
    image: GivenImage,
    *,
    mask: Any = None,
    prior: np.ndarray | PriorFiles | None = None,
    name: str | None = None,
    spacing_mm: Sequence[float | int] | None = None,
    affine: Num[np.ndarray, "4 4"] | None = None,
    value_range: tuple[float | int, float | int] | None = None,
    at: At | None = None,
    refine: bool | None = None,
    settings: CorrectionSettings | None = None,
    model_paths: Sequence[Path | str] = (),
    **changes: Any,
) -> Session:
    """Return a session; the arguments are those of `Model.correct`, and the model's own files."""
    if mask is not None and prior is not None:
        raise ValueError("mask and prior both say what to start from: leave one out.")
    settings = settings or CorrectionSettings()
    opened = predictor.open(
        image, spacing_mm=spacing_mm, affine=affine, value_range=value_range, name=name, at=at
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
    origin = make_origin(opened.opened, model_paths, spacing_mm, affine, value_range, at)
    return Session(maps, settings, origin)


def restore_session(saved: SavedSession, predictor: Predictor, image: GivenImage) -> Session:
    """Return a session as it was saved, with its model and its image.

    Raises ValueError for another model or another image.
    """
    header, origin = saved.header, saved.origin
    affine = None if origin.affine is None else np.array(origin.affine)
    given = image if affine is None and origin.spacing_mm is None else np.asarray(image)
    opened = predictor.open(
        given,
        spacing_mm=origin.spacing_mm,
        affine=affine,
        value_range=origin.value_range,
        name=header["name"],
        at=origin.at,
    )
    if hash_weights(predictor) != header["weights_sha256"]:
        raise ValueError(
            f"{saved.path} is a session of another model: {', '.join(origin.model_paths) or '-'} "
            "had other weights. Give the model that it was made with."
        )
    if hash_image(opened.opened) != header["image_sha256"]:
        raise ValueError(
            f"{saved.path} is a session of another image: {header['name'] or 'it'} had other "
            "values. Give the image that it was made with."
        )
    prior = saved.array("prior")
    opened = opened.with_prior(None if prior is None else torch.from_numpy(prior))
    settings = CorrectionSettings.model_validate(header["settings"])
    keep = SeenWindows(settings.cache_mb * MB)
    chosen = PredictionSettings.model_validate(header["prediction"])
    maps = SessionMaps(predictor, opened, chosen, header["refine"], keep, saved.array("mask"))
    is_known = saved.array("is_known")
    assert is_known is not None
    maps.is_known[:] = is_known
    maps.prediction.maps.update({name: saved.arrays[key] for name, key in header["maps"].items()})
    session = Session(maps, settings, origin, saved.history)
    session.revision = header["revision"]
    return session


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
