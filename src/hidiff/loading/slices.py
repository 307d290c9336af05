"""Volumes as slices: loaded whole, normalised whole, then a slice with its neighbours at a time."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hidiff.datasets.case import Case, mask_of
from hidiff.images.files import DataError, ImageFiles, first_file
from hidiff.images.grid import Grid, Plane, to_slices
from hidiff.images.intensity import Intensity, normalise
from hidiff.images.volume import read_grid, read_volume, read_volume_mask
from hidiff.labels import Labels
from hidiff.loading.cache import Cache, cached
from hidiff.loading.dataset import Item, check_names, in_floats, resize_bits, resize_image


@dataclass(frozen=True)
class Slicing:
    """How the networks, which are 2-D, look at volumes."""

    plane: Plane = "axial"
    neighbours: int = 0
    """slices above and below that are seen too, as channels (2.5-D)"""
    spacing_mm: tuple[float, float] | None = None
    """rows' and columns' that slices are resampled to"""

    def size_of(self, grid: Grid) -> tuple[int, int] | None:
        """Rows and columns that slices are resized to; None where they stay as they are."""
        if self.spacing_mm is None:
            return None
        sides = grid.slice_shape(self.plane)[1:]
        spacing = grid.slice_spacing_mm(self.plane)[1:]
        rows, columns = (
            max(1, round(side * came / wanted))
            for side, came, wanted in zip(sides, spacing, self.spacing_mm, strict=True)
        )
        return rows, columns


@dataclass(frozen=True)
class SlicedVolume:
    """A volume as the networks see it, before any resizing."""

    image: Float[Tensor, "c d h w"]
    grid: Grid


def load_volume(
    image: ImageFiles, channels: int, intensity: Intensity, plane: Plane
) -> SlicedVolume:
    """Read a volume, normalise it as a whole, and turn it so that its slices come first."""
    volume = read_volume(image, channels)
    turned = to_slices(volume.values, volume.grid, plane)
    raw = np.ascontiguousarray(turned, dtype=np.float32)
    try:
        normalised = normalise(raw, intensity)
    except ValueError as error:
        raise DataError(f"{volume.path}: {error}") from None
    return SlicedVolume(torch.from_numpy(normalised), volume.grid)


def read_slice(
    image: ImageFiles, channels: int, plane: Plane, number: int
) -> Float[np.ndarray, "c h w"]:
    """The raw values of one slice, to be looked at."""
    volume = read_volume(image, channels)
    turned = to_slices(volume.values, volume.grid, plane)
    return np.ascontiguousarray(turned[:, number], dtype=np.float32)


def load_volume_mask(
    case: Case, grid: Grid, labels: Labels, plane: Plane
) -> Bool[Tensor, "k d h w"]:
    """The bits of a case's mask, slices first; `grid` is its image's.

    Raises DataError for a mask that does not fit.
    """
    mask = mask_of(case)
    values = to_slices(read_volume_mask(mask, grid, first_file(case.image)), grid, plane)
    try:
        return torch.from_numpy(labels.encode_bool(np.ascontiguousarray(values)))
    except ValueError as error:
        raise DataError(f"{mask}: {error}") from None


def show_slice(
    image: Float[Tensor, "c d h w"], number: int, neighbours: int
) -> Float[Tensor, "channels h w"]:
    """A slice and its neighbours as channels; the end slices stand in for those beyond."""
    depth = image.shape[1]
    wanted = range(number - neighbours, number + neighbours + 1)
    return image[:, [min(max(z, 0), depth - 1) for z in wanted]].flatten(0, 1)


class LoadedVolumes(torch.utils.data.Dataset[Item]):
    """Slices of volumes by number, each as an item of `LoadedCases` is; all volumes in order.

    With `cache` every volume is read once, at the start, and kept: 4 bytes a channel and voxel,
    and 1 a mask plane and voxel; "disk" keeps the same in `cache_folder()`.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        labels: Labels,
        channels: int,
        intensity: Intensity,
        slicing: Slicing,
        size: tuple[int, int] | None = None,
        cache: Cache = True,
    ) -> None:
        check_names(cases)
        self.cases = list(cases)
        self.neighbours = slicing.neighbours
        self._class_planes = labels.class_planes
        load = _LoadVolumeCase(labels, channels, intensity, slicing, size)
        self._volumes = cached(self.cases, load, cache)
        self._places, self._shown = self._index()

    def _index(self) -> tuple[list[tuple[int, int]], list[list[int]]]:
        """(volume, slice) by number; and of each volume the numbers of slices that show a class."""
        places: list[tuple[int, int]] = []
        shown: list[list[int]] = []
        for volume in range(len(self.cases)):
            y0 = self._volumes[volume]["y0"][self._class_planes]
            present = y0.flatten(2).any(dim=2).any(dim=0).tolist()
            start = len(places)
            shown.append([start + z for z, here in enumerate(present) if here])
            places += [(volume, z) for z in range(len(present))]
        return places, shown

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Item:
        return in_floats(self.stored(index))

    def stored(self, index: int) -> Item:
        """The item with y0 and field_of_view as booleans: read only."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"slice {index} of {len(self)}")
        number, z = self._places[index]
        volume = self._volumes[number]
        return {
            "name": f"{volume['name']}:{z}",
            "image": show_slice(volume["image"], z, self.neighbours),
            "y0": volume["y0"][:, z],
            "field_of_view": torch.ones((1, *volume["image"].shape[-2:]), dtype=torch.bool),
        }

    def showing_a_class(self, index: int) -> Sequence[int]:
        """The slices of the same volume that show something, for patches to be centred on it."""
        return self._shown[self._places[index][0]]


def count_volume_cache(
    cases: Sequence[Case],
    channels: int,
    planes: int,
    slicing: Slicing,
    size: tuple[int, int] | None = None,
) -> int:
    """Bytes that LoadedVolumes keeps of the cases, from their files' heads alone.

    A volume that does not read counts nothing: reading it will tell.
    """
    voxels = 0
    for case in cases:
        with contextlib.suppress(DataError):
            grid = read_grid(first_file(case.image))
            resized = size or slicing.size_of(grid)
            depth = grid.slice_shape(slicing.plane)[0]
            voxels += int(np.prod((depth, *resized) if resized else grid.shape))
    return voxels * (4 * channels + planes)


class _LoadVolumeCase:
    """Load a case's volume and mask, as a cache wants it, see `cache.Load`."""

    def __init__(
        self,
        labels: Labels,
        channels: int,
        intensity: Intensity,
        slicing: Slicing,
        size: tuple[int, int] | None,
    ) -> None:
        self.arguments = (labels, channels, intensity, slicing, size)

    def __call__(self, case: Case) -> Item:
        labels, channels, intensity, slicing, size = self.arguments
        loaded = load_volume(case.image, channels, intensity, slicing.plane)
        y0 = load_volume_mask(case, loaded.grid, labels, slicing.plane)
        image, size = loaded.image, size or slicing.size_of(loaded.grid)
        if size is not None:
            image, y0 = resize_slices(image, size), resize_bits(y0, size)
        return {"name": case.name, "image": image, "y0": y0}


def resize_slices(
    image: Float[Tensor, "c d h w"], size: tuple[int, int]
) -> Float[Tensor, "c d H W"]:
    """Each slice as `resize_image` does."""
    return resize_image(image.flatten(0, 1), size).unflatten(0, image.shape[:2])
