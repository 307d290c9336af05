"""Cases as tensors: loaded whole, cut into training patches, and put together in batches."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from monai.data.dataset import CacheDataset
from monai.transforms.compose import Compose
from monai.transforms.transform import Transform
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from hidiff.data.case import Case, DataError
from hidiff.data.intensity import Intensity, normalise
from hidiff.data.read import read_field_of_view, read_image, read_mask, read_size
from hidiff.labels import Labels
from hidiff.seeding import derive

# name: str; image (c h w), y0 (k h w), field_of_view (1 h w): float32 tensors
Item = dict[str, Any]


class LoadedCases(Dataset[Item]):
    """Cases by number: name, image (c h w), y0 (k h w) and field_of_view (1 h w), all float32.

    With `cache`, MONAI reads every case once, at the start, and keeps 4 bytes a channel and
    pixel, and 1 a mask plane and pixel. `size` (h, w) resizes all; None leaves each as it is.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        labels: Labels,
        channels: int,
        intensity: Intensity,
        size: tuple[int, int] | None = None,
        cache: bool = True,
    ) -> None:
        names = [case.name for case in cases]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"two cases are called {twice!r}, but names must differ. Rename one.")
        self.cases = list(cases)
        try:
            self._items = CacheDataset(
                self.cases,
                Compose([_LoadCase(labels, channels, intensity, size)]),
                cache_rate=float(cache),
                num_workers=None,
                progress=False,
                copy_cache=False,  # nothing downstream writes into an item
            )
        except RuntimeError as error:
            raise _cause(error) from None

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> Item:
        item = self.stored(index)
        return {
            **item,
            "y0": item["y0"].float(),
            "field_of_view": item["field_of_view"].float(),
        }

    def stored(self, index: int) -> Item:
        """The item as it lies in the cache, with y0 and field_of_view as booleans: read only."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"case {index} of {len(self)}")
        try:
            return cast(Item, self._items[index % len(self)])
        except RuntimeError as error:
            raise _cause(error) from None


def count_cache(
    cases: Sequence[Case], channels: int, planes: int, size: tuple[int, int] | None = None
) -> int:
    """Bytes that LoadedCases keeps of the cases, from their images' heads alone.

    An image that does not read counts nothing: reading it will tell.
    """
    pixels = 0
    for case in cases:
        if size is not None:
            pixels += size[0] * size[1]
            continue
        with contextlib.suppress(DataError):
            height, width = read_size(case.image)
            pixels += height * width
    return pixels * (4 * channels + planes + 1)


class TrainingPatches(Dataset[Item]):
    """Patches by key (epoch, case number): each a pure function of the seed and its key.

    So workers, batches, ranks and resumed runs all cut the same patch. Keys come from `Draws`;
    the transform from `training_transform`. One thread at a time; worker processes are fine.
    """

    def __init__(self, loaded: LoadedCases, transform: Compose, seed: int) -> None:
        self.loaded = loaded
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.loaded)

    def __getitem__(self, key: tuple[int, int]) -> Item:
        epoch, case = key
        # MONAI's generators take 32 bits.
        state = derive(self.seed, "patch", epoch, case) % 2**32
        self.transform.set_random_state(seed=state)
        return cast(Item, self.transform(self.loaded.stored(case)))


def load_image(
    path: Path | str,
    channels: int,
    intensity: Intensity,
    size: tuple[int, int] | None = None,
) -> Float[Tensor, "c h w"]:
    """An image as the networks see it: read, normalised as a whole, then resized."""
    raw = read_image(path, channels)
    try:
        image = torch.from_numpy(normalise(raw, intensity))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    return image if size is None else resize_image(image, size)


def load_case(
    case: Case,
    labels: Labels,
    channels: int,
    intensity: Intensity,
    size: tuple[int, int] | None = None,
) -> Item:
    """A case's item, with y0 and field_of_view as booleans; a set without one sees everything."""
    image = load_image(case.image, channels, intensity)
    if case.mask is None:
        raise DataError(
            f"case {case.name} has no mask, but training and evaluation want one. "
            "Use load_image to predict."
        )
    y0 = _encode(case.mask, read_mask(case.mask), labels)
    _check_same_size(case.image, image, case.mask, y0)
    if case.field_of_view is None:
        field_of_view = torch.ones((1, *image.shape[-2:]), dtype=torch.bool)
    else:
        field_of_view = torch.from_numpy(read_field_of_view(case.field_of_view)) > 0
        _check_same_size(case.image, image, case.field_of_view, field_of_view)
    if size is not None:
        image, y0, field_of_view = (
            resize_image(image, size),
            _resize_bits(y0, size),
            _resize_bits(field_of_view, size),
        )
    return {"name": case.name, "image": image, "y0": y0, "field_of_view": field_of_view}


def resize_image(image: Float[Tensor, "c h w"], size: tuple[int, int]) -> Float[Tensor, "c H W"]:
    """Bilinear, smoothed first where it shrinks; the same size comes back untouched."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    return interpolate(image[None], size, mode="bilinear", antialias=True)[0]


def collate(items: Sequence[Item]) -> dict[str, Any]:
    """A batch: name (list), image (b c h w), y0 (b k h w), field_of_view (b 1 h w)."""
    sizes = {tuple(item["image"].shape[-2:]) for item in items}
    if len(sizes) > 1:
        raise DataError(
            f"a batch holds images of the sizes {sorted(sizes)}, but one size is wanted. "
            "Set the data's size, cut patches, or use batches of 1."
        )
    batch: dict[str, Any] = {"name": [item["name"] for item in items]}
    for key in ("image", "y0", "field_of_view"):
        batch[key] = torch.stack([item[key] for item in items])
    return batch


class _LoadCase(Transform):
    """load_case in the form that MONAI knows to be the same every time, and so caches."""

    def __init__(
        self, labels: Labels, channels: int, intensity: Intensity, size: tuple[int, int] | None
    ) -> None:
        self.arguments = (labels, channels, intensity, size)

    def __call__(self, case: Case) -> Item:
        return load_case(case, *self.arguments)


def _encode(path: Path | str, mask: np.ndarray, labels: Labels) -> Tensor:
    try:
        return torch.from_numpy(labels.encode(mask)) > 0
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def _resize_bits(bits: Tensor, size: tuple[int, int]) -> Tensor:
    # nearest-exact takes the pixel that bilinear centres on; plain nearest is half a pixel off.
    return interpolate(bits[None].float(), size, mode="nearest-exact")[0] > 0


def _check_same_size(path: Path | str, image: Tensor, other: Path | str, bits: Tensor) -> None:
    came, wanted = tuple(bits.shape[-2:]), tuple(image.shape[-2:])
    if came != wanted:
        raise DataError(
            f"{other} is {came[0]}x{came[1]} (rows x columns), but its image {path} is "
            f"{wanted[0]}x{wanted[1]}. Check that they belong together, and resize one."
        )


def _cause(error: BaseException) -> BaseException:
    """What went wrong, out of the layers of RuntimeError that MONAI wraps around it."""
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, DataError):
        inner = inner.__cause__
    return error if inner is None else inner
