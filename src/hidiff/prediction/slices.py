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
    PictureGeometry,
    PriorFiles,
    Priors,
    check_prior,
    name_of,
    open_image,
    read_prior,
    rescale,
)
from hidiff.labels import Labels
from hidiff.loading import (
    At,
    Crop,
    Reading,
    normalise_image,
    place_crop,
    resize_image,
    segmentor_input,
    show_slice,
    stretch,
)
from hidiff.loading.resize import resize_nearest


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
    crop: Crop | None = None
    """the only part of the volume that the networks see; `image` is that part"""

    def with_prior(self, prior: Float[Tensor, "k d h w"] | None) -> "OpenedImage":
        """Return the same image with a prior, at the size of the files."""
        return replace(self, prior=prior)

    def seen(self, number: int) -> Float[Tensor, "1 channels h w"]:
        """Return one slice, with its neighbours and its prior, resized or cropped."""
        if self.crop is not None:
            planes = {"image": self.image[None, :, 0]}
            if self.prior is not None:
                planes["prior"] = self.crop.cut(self.prior[None, :, number])
            return segmentor_input(planes)
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
        if self.crop is not None:
            return self.crop.size
        return self.size or self.opened.geometry.size

    def sees(self, number: int) -> bool:
        """Return whether the networks see anything of a slice."""
        return self.crop is None or number == self.crop.number

    def to_seen(self, maps: Tensor, *, nearest: bool = False) -> Tensor:
        """Bring maps (... h w) of a slice to the size and place that the networks see."""
        if self.crop is not None:
            return self.crop.cut_nearest(maps) if nearest else self.crop.cut(maps)
        return (resize_nearest if nearest else resize_image)(maps, self.seen_size)

    def from_seen(self, maps: Tensor, *, nearest: bool = False) -> Tensor:
        """Bring maps (... h w) that the networks made back to the slice; 0 outside a crop."""
        if self.crop is not None:
            return self.crop.paste_nearest(maps) if nearest else self.crop.paste(maps)
        return (resize_nearest if nearest else resize_image)(maps, self.opened.geometry.size)


def open_slices(
    image: GivenImage,
    reading: Reading,
    crop_size: tuple[int, int],
    spacing_mm: Sequence[float | int] | None = None,
    affine: Num[np.ndarray, "4 4"] | None = None,
    value_range: tuple[float | int, float | int] | None = None,
    name: str | None = None,
    at: At | None = None,
) -> OpenedImage:
    """Open and normalise an image, without a prior; arguments are those of `Predictor.predict`.

    A model of crops sees `crop_size` pixels around the place `at`.
    """
    slicing = reading.slicing
    opened = open_image(
        image, reading.channels, slicing.plane, slicing.nan, spacing_mm=spacing_mm, affine=affine
    )
    if value_range is not None:
        opened = rescale(opened, value_range, reading.intensity)
    crop = _find_crop(at, opened, reading, crop_size)
    seen = opened if crop is None else _cut(opened, crop, reading)
    return OpenedImage(
        name_of(image) if name is None else name,
        opened,
        normalise_image(seen, reading.intensity),
        None,
        slicing.neighbours,
        reading.size_of(opened.geometry),
        crop,
    )


def _find_crop(at: At | None, image: Image, reading: Reading, size: tuple[int, int]) -> Crop | None:
    """Return the crop to see of an image; None where all of it is seen.

    Raises ValueError for a volume without a place, and for a place that is of no use.
    """
    crop_mm = reading.slicing.crop_mm
    if crop_mm is None:
        if at is not None:
            raise ValueError(
                "at is for models of crops, but this one sees whole images: leave it out."
            )
        return None
    if at is not None:
        return place_crop(at, image.geometry, size, crop_mm)
    if image.geometry.spacing_mm is not None:
        raise ValueError(
            f"this model outlines what lies in the middle of a crop of {size[0]}x{size[1]} pixels "
            f"of {crop_mm:g} mm, and a volume came without a place: give --at row,column,slice (in "
            "Python at=(row, column, slice)), counted from 0."
        )
    return None


def _cut(image: Image, crop: Crop, reading: Reading) -> Image:
    """Return the crop of an image as a picture, stretched to its own range."""
    planes = crop.cut(torch.from_numpy(image.values[:, crop.number].astype(np.float32)))
    stretched = stretch(planes.numpy(), reading.intensity)
    return Image(stretched[:, None], PictureGeometry(crop.size), image.path)


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
