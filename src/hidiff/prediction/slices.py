"""An image that is opened for prediction: its slices as the networks see them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor

from hidiff.images import (
    GivenImage,
    Image,
    PriorFiles,
    Priors,
    check_prior,
    name_of,
    open_image,
    read_prior,
    rescale,
)
from hidiff.labels import Labels
from hidiff.loading import Reading, normalise_image, resize_image, segmentor_input, show_slice


@dataclass(frozen=True)
class OpenedImage:
    """The slices of an image, with their priors, as the networks see them."""

    name: str
    """on which random draws depend"""
    opened: Image
    image: Float[Tensor, "c d h w"]
    """normalised"""
    prior: Float[Tensor, "k d h w"] | None
    neighbours: int
    size: tuple[int, int] | None
    """rows and columns that slices are resized to; None leaves them as they are"""

    def with_prior(self, prior: Float[Tensor, "k d h w"] | None) -> "OpenedImage":
        """Return the same image with a prior, at the size of the files."""
        return replace(self, prior=prior)

    def seen(self, number: int) -> Float[Tensor, "1 channels h w"]:
        """Return one slice, with its neighbours and its prior, resized."""
        depth = self.opened.geometry.frame_depth
        planes = {"image": show_slice(self.image, number, self.neighbours, depth)[None]}
        if self.prior is not None:
            planes["prior"] = self.prior[None, :, number]
        together = segmentor_input(planes)
        return together if self.size is None else resize_image(together, self.size)

    def key(self, number: int) -> str:
        """Return the name of one slice, on which its random draws depend."""
        return self.opened.geometry.slice_key(self.name, number)

    @property
    def seen_size(self) -> tuple[int, int]:
        """Rows and columns of a slice as the networks see it."""
        return self.size or self.opened.geometry.size


def open_slices(
    image: GivenImage,
    reading: Reading,
    spacing_mm: Sequence[float | int] | None = None,
    affine: Num[np.ndarray, "4 4"] | None = None,
    value_range: tuple[float | int, float | int] | None = None,
    name: str | None = None,
) -> OpenedImage:
    """Open and normalise an image, without a prior; arguments are those of `Predictor.predict`."""
    slicing = reading.slicing
    opened = open_image(
        image, reading.channels, slicing.plane, slicing.nan, spacing_mm=spacing_mm, affine=affine
    )
    if value_range is not None:
        opened = rescale(opened, value_range, reading.intensity)
    return OpenedImage(
        name_of(image) if name is None else name,
        opened,
        normalise_image(opened, reading.intensity),
        None,
        slicing.neighbours,
        reading.size_of(opened.geometry),
    )


def read_given_prior(
    prior: np.ndarray | PriorFiles, labels: Labels, priors: Priors, image: Image
) -> Float[Tensor, "k d h w"]:
    """Return the prior that came with an image: a file, or probabilities in the form of its file.

    `priors` says what the file holds. Raises ValueError for a prior that does not fit.
    """
    geometry = image.geometry
    if isinstance(prior, str | Path | tuple):
        source = prior if image.path is None else image.path
        return torch.from_numpy(read_prior(prior, labels, priors, geometry, source))
    maps = check_prior(prior, labels, "the prior", len(geometry.native_shape))
    if maps.shape[1:] != geometry.native_shape:
        came, wanted = (
            "x".join(map(str, shape)) for shape in (maps.shape[1:], geometry.native_shape)
        )
        raise ValueError(f"the prior is {came}, but its image is {wanted}. Resize one.")
    return torch.from_numpy(np.ascontiguousarray(geometry.from_native(maps)))
