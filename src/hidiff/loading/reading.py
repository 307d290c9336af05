"""Read cases: the settings of it, and the files of one case, each opened once."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor

from hidiff.datasets.case import Case
from hidiff.images import (
    DataError,
    Geometry,
    Image,
    ImageFiles,
    Intensity,
    Priors,
    check_range,
    first_file,
    normalise,
    picture_traits,
    read_field_of_view,
    read_geometry,
    read_image,
    read_mask,
    read_prior,
)
from hidiff.images.grid import Plane
from hidiff.images.voxels import Nan
from hidiff.labels import Labels
from hidiff.loading.resize import resize_image


@dataclass(frozen=True)
class Slicing:
    """The slices of volumes that the networks, which are 2-D, see."""

    plane: Plane = "axial"
    neighbours: int = 0
    """slices above and below that are seen too, as channels (2.5-D)"""
    spacing_mm: tuple[float, float] | None = None
    """spacing of rows and columns that slices are resampled to"""
    nan: Nan = "refused"
    """treatment of NaN in an image"""
    crop_mm: float | None = None
    """side of a pixel of the crops that are seen of a volume; None: whole slices are seen"""

    def size_of(self, geometry: Geometry) -> tuple[int, int] | None:
        """Return rows and columns that slices are resized to; None where they stay as they are."""
        spacing = geometry.spacing_mm
        if self.spacing_mm is None or spacing is None:
            return None
        rows, columns = (
            max(1, round(side * came / wanted))
            for side, came, wanted in zip(geometry.size, spacing[1:], self.spacing_mm, strict=True)
        )
        return rows, columns


@dataclass(frozen=True)
class Reading:
    """Everything beside its files that an item depends on."""

    labels: Labels
    channels: int
    intensity: Intensity
    slicing: Slicing = Slicing()
    size: tuple[int, int] | None = None
    """rows and columns that every slice is resized to; None leaves each as it is"""
    priors: Priors | None = None
    """kind of the priors' files; None where a network makes the prior"""

    def size_of(self, geometry: Geometry) -> tuple[int, int] | None:
        """Return rows and columns that an image's slices are resized to; None for no change."""
        return self.size or self.slicing.size_of(geometry)

    @property
    def unresized(self) -> "Reading":
        """The same reading at the size of the files."""
        return replace(self, size=None, slicing=replace(self.slicing, spacing_mm=None))


class CaseFiles:
    """One case's image, masks, field of view and prior, as `reading` asks for them.

    Raises DataError, naming the file, for anything that does not read or does not fit the image.
    """

    def __init__(self, case: Case, reading: Reading) -> None:
        self.case = case
        self.reading = reading

    @cached_property
    def image(self) -> Float[Tensor, "c d h w"]:
        """The normalised image."""
        slicing = self.reading.slicing
        image = read_image(self.case.image, self.reading.channels, slicing.plane, slicing.nan)
        self.geometry = image.geometry
        return normalise_image(image, self.reading.intensity)

    @cached_property
    def geometry(self) -> Geometry:
        """The geometry of the slices, from the header of an image that was not read yet."""
        return read_geometry(self.case.image, self.reading.slicing.plane)

    @cached_property
    def raters(self) -> Bool[Tensor, "r k d h w"]:
        """The mask of every rater."""
        if not self.case.masks:
            raise DataError(
                f"case {self.case.name} has no mask, but training and evaluation want one. Add "
                "it, or use hidiff predict."
            )
        return torch.stack([self._encode(path, values) for path, values in self._mask_values])

    @property
    def field_of_view(self) -> Bool[Tensor, "1 d h w"]:
        """The pixels that count: those in the field of view that no rater's mask ignores."""
        inside = np.ones(self.geometry.shape, dtype=bool)
        if self.case.field_of_view is not None:
            inside &= read_field_of_view(self.case.field_of_view, self.geometry, self.case.image)
        if self.reading.labels.ignore:
            for _, values in self._mask_values:
                inside &= self.reading.labels.counted(values)
        return torch.from_numpy(inside[None])

    @property
    def prior(self) -> Float[Tensor, "k d h w"]:
        """The probability of each mask plane, by another model."""
        priors, case = self.reading.priors, self.case
        assert priors is not None
        if case.prior is None:
            raise DataError(
                f"case {case.name} has no prior, but the model refines priors from files. Write "
                "it into the folder data.priors.folder."
            )
        return torch.from_numpy(
            read_prior(case.prior, self.reading.labels, priors, self.geometry, case.image)
        )

    @cached_property
    def _mask_values(self) -> list[tuple[Path | str, Num[np.ndarray, "d h w"]]]:
        """Every rater's file with its values."""
        return [(path, read_mask(path, self.geometry, self.case.image)) for path in self.case.masks]

    def _encode(
        self, path: Path | str, values: Num[np.ndarray, "d h w"]
    ) -> Bool[Tensor, "k d h w"]:
        lossy = picture_traits(path).lossy
        try:
            return torch.from_numpy(self.reading.labels.encode_bool(values, lossy=lossy))
        except ValueError as error:
            raise DataError(f"{path}: {error}") from None


def normalise_image(image: Image, intensity: Intensity) -> Float[Tensor, "c d h w"]:
    """Return an image as the networks see it, before any resizing; normalised as a whole."""
    try:
        check_range(image, intensity)
        return torch.from_numpy(normalise(image.values, intensity))
    except ValueError as error:
        if image.path is None:
            raise
        raise DataError(f"{first_file(image.path)}: {error}") from None


def load_image(files: ImageFiles, reading: Reading) -> Float[Tensor, "c d h w"]:
    """Return an image's files as the networks see them: read, normalised as a whole, resized."""
    image = read_image(files, reading.channels, reading.slicing.plane, reading.slicing.nan)
    size = reading.size_of(image.geometry)
    values = normalise_image(image, reading.intensity)
    return values if size is None else resize_image(values, size)


def counts_some(case: Case, labels: Labels) -> bool:
    """Return whether some pixels of a case may not count, so that a plane has to say which do."""
    return case.field_of_view is not None or (bool(labels.ignore) and bool(case.masks))


def most_raters(raters: Bool[Tensor, "r k *space"], labels: Labels) -> Bool[Tensor, "k *space"]:
    """Return one truth out of several: the classes that at least half of the raters marked.

    Of exclusive classes, where no such class need exist, the one that most raters marked; the first
    of equals.
    """
    if labels.kind != "exclusive":
        return 2 * raters.sum(dim=0) >= len(raters)
    votes = raters.sum(dim=0)
    numbers = torch.arange(len(votes)).reshape(-1, *[1] * (votes.ndim - 1))
    return numbers == votes.argmax(dim=0)


def show_slice(
    image: Float[Tensor, "c d h w"], number: int, neighbours: int, depth: int | None = None
) -> Float[Tensor, "channels h w"]:
    """Return a slice and its neighbours as channels; end slices stand in for those beyond.

    `depth` is the number of slices of one frame, where the image has several frames.
    """
    if neighbours == 0:
        return image[:, number]
    depth = depth or image.shape[1]
    first = number - number % depth
    wanted = range(number - neighbours, number + neighbours + 1)
    return image[:, [min(max(z, first), first + depth - 1) for z in wanted]].flatten(0, 1)
