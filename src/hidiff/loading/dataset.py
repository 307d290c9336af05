"""Cases as tensors: loaded whole, cut into training patches, and put together in batches."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from hidiff.datasets.case import Case
from hidiff.images.files import DataError, ImageFiles, first_file
from hidiff.images.intensity import Intensity, normalise
from hidiff.images.pictures import read_field_of_view, read_files, read_mask, read_size
from hidiff.images.priors import Priors, read_prior
from hidiff.labels import Labels
from hidiff.loading.cache import Cache, cached
from hidiff.seeding import derive, generator

if TYPE_CHECKING:  # prediction imports this module too, and does without MONAI
    import monai.transforms.compose


@runtime_checkable
class Loaded(Protocol):
    """Items by number, as TrainingPatches cuts them up: pictures, or slices of volumes."""

    def __len__(self) -> int: ...

    def stored(self, index: int) -> "Item": ...

    def showing_a_class(self, index: int) -> Sequence[int]: ...


# name: str; image (c h w), y0 (k h w), field_of_view (1 h w): float32 tensors. Where several raters
# looked: y0 is what most of them say, and raters (r k h w, booleans) what each says.
Item = dict[str, Any]


class LoadedCases(Dataset[Item]):
    """Cases by number: name, image (c h w), y0 (k h w) and field_of_view (1 h w), all float32.

    With `cache`, MONAI reads every case once, at the start, and keeps 4 bytes a channel and
    pixel, and 1 a mask plane and pixel; "disk" keeps the same in `cache_folder()`, as it is asked
    for. `size` (h, w) resizes all; None leaves each as it is. With
    `priors` the planes of each case's prior follow the image's channels.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        labels: Labels,
        channels: int,
        intensity: Intensity,
        size: tuple[int, int] | None = None,
        cache: Cache = True,
        priors: Priors | None = None,
    ) -> None:
        check_names(cases)
        self.cases = list(cases)
        load = _LoadCase(labels, channels, intensity, size, priors)
        self._items = cached(self.cases, load, cache)

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> Item:
        return in_floats(self.stored(index))

    def stored(self, index: int) -> Item:
        """The item as it lies in the cache, with y0 and field_of_view as booleans: read only."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"case {index} of {len(self)}")
        return self._items[index % len(self)]

    def showing_a_class(self, index: int) -> Sequence[int]:
        """What may be shown in place of an empty item (see LoadedVolumes): nothing."""
        return ()


def in_floats(item: Item) -> Item:
    """A stored item as an item."""
    return {**item, "y0": item["y0"].float(), "field_of_view": item["field_of_view"].float()}


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
            height, width = read_size(first_file(case.image))
            pixels += height * width
    readings = max((len(case.masks) for case in cases), default=1)
    kept = 1 if readings == 1 else readings + 1  # every rater's, and what most say
    return pixels * (4 * channels + planes * kept + 1)


class TrainingPatches(Dataset[Item]):
    """Patches by key (epoch, case number): each a pure function of the seed and its key.

    So workers, batches, ranks and resumed runs all cut the same patch. Keys come from `Draws`;
    the transform from `training_transform`. `foreground_share` of a volume's empty slices are
    replaced by one of its others. Of several raters each draw shows one, as likely as any other.
    One thread at a time; worker processes are fine.
    """

    def __init__(
        self,
        loaded: Loaded,
        transform: "monai.transforms.compose.Compose",
        seed: int,
        foreground_share: float = 0.0,
    ) -> None:
        self.loaded = loaded
        self.transform = transform
        self.seed = seed
        self.foreground_share = foreground_share

    def __len__(self) -> int:
        return len(self.loaded)

    def __getitem__(self, key: tuple[int, int]) -> Item:
        epoch, case = key
        # MONAI's generators take 32 bits.
        state = derive(self.seed, "patch", epoch, case) % 2**32
        self.transform.set_random_state(seed=state)
        item = self.loaded.stored(self._choose(epoch, case))
        return cast(Item, self.transform(self._one_rater(item, epoch, case)))

    def _one_rater(self, item: Item, epoch: int, case: int) -> Item:
        if "raters" not in item:
            return item
        raters = item["raters"]
        draws = generator(self.seed, "rater", epoch, case)
        chosen = int(torch.randint(len(raters), (), generator=draws))
        others = {key: value for key, value in item.items() if key != "raters"}
        return {**others, "y0": raters[chosen]}

    def _choose(self, epoch: int, case: int) -> int:
        shown = self.loaded.showing_a_class(case)
        if not shown or case in shown:
            return case
        draws = generator(self.seed, "slice", epoch, case)
        if torch.rand((), generator=draws) >= self.foreground_share:
            return case
        return shown[int(torch.randint(len(shown), (), generator=draws))]


def load_image(
    image: ImageFiles,
    channels: int,
    intensity: Intensity,
    size: tuple[int, int] | None = None,
) -> Float[Tensor, "c h w"]:
    """An image as the networks see it: read, normalised as a whole, then resized."""
    raw = read_files(image, channels)
    try:
        normalised = torch.from_numpy(normalise(raw, intensity))
    except ValueError as error:
        raise DataError(f"{first_file(image)}: {error}") from None
    return normalised if size is None else resize_image(normalised, size)


def load_case(
    case: Case,
    labels: Labels,
    channels: int,
    intensity: Intensity,
    size: tuple[int, int] | None = None,
    priors: Priors | None = None,
) -> Item:
    """A case's item, with y0 and field_of_view as booleans; a set without one sees everything."""
    image = load_image(case.image, channels, intensity)
    if priors is not None:
        shape = (image.shape[1], image.shape[2])
        image = torch.cat([image, read_prior_of(case, labels, priors, shape)])
    file = first_file(case.image)
    if case.mask is None:
        raise DataError(
            f"case {case.name} has no mask, but training and evaluation want one. "
            "Use load_image to predict."
        )
    readings = []
    for mask in case.masks:
        y0 = _encode(mask, read_mask(mask), labels)
        _check_same_size(file, image, mask, y0)
        readings.append(y0)
    raters = torch.stack(readings)
    if case.field_of_view is None:
        field_of_view = torch.ones((1, *image.shape[-2:]), dtype=torch.bool)
    else:
        field_of_view = torch.from_numpy(read_field_of_view(case.field_of_view)) > 0
        _check_same_size(file, image, case.field_of_view, field_of_view)
    if size is not None:
        image, raters, field_of_view = (
            resize_image(image, size),
            resize_bits(raters, size),
            resize_bits(field_of_view, size),
        )
    item = {
        "name": case.name,
        "image": image,
        "y0": most_raters(raters, labels),
        "field_of_view": field_of_view,
    }
    return item if len(raters) == 1 else {**item, "raters": raters}


def most_raters(raters: Bool[Tensor, "r k h w"], labels: Labels) -> Bool[Tensor, "k h w"]:
    """One truth out of several: what at least half of the raters say.

    Of exclusive classes, where no such one need be: what most say, the first class of equals.
    """
    if labels.kind != "exclusive":
        return 2 * raters.sum(dim=0) >= len(raters)
    votes = raters.sum(dim=0)
    return torch.arange(len(votes))[:, None, None] == votes.argmax(dim=0)


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


class _LoadCase:
    """`load_case` as a cache wants it, see `cache.Load`."""

    def __init__(
        self,
        labels: Labels,
        channels: int,
        intensity: Intensity,
        size: tuple[int, int] | None,
        priors: Priors | None,
    ) -> None:
        self.arguments = (labels, channels, intensity, size, priors)

    def __call__(self, case: Case) -> Item:
        return load_case(case, *self.arguments)


def _encode(path: Path | str, mask: np.ndarray, labels: Labels) -> Tensor:
    try:
        return torch.from_numpy(labels.encode(mask)) > 0
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def resize_bits(bits: Bool[Tensor, "*k h w"], size: tuple[int, int]) -> Bool[Tensor, "*k H W"]:
    """The nearest pixel's; the same size comes back untouched."""
    if tuple(bits.shape[-2:]) == tuple(size):
        return bits
    # nearest-exact takes the pixel that bilinear centres on; plain nearest is half a pixel off.
    planes = bits.reshape(1, -1, *bits.shape[-2:]).to(torch.uint8)
    resized = interpolate(planes, size, mode="nearest-exact")
    return resized.reshape(*bits.shape[:-2], *size) > 0


def check_names(cases: Sequence[Case]) -> None:
    """Raise DataError for two cases of one name."""
    names = [case.name for case in cases]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"two cases are called {twice!r}, but names must differ. Rename one.")


def _check_same_size(path: Path | str, image: Tensor, other: Path | str, bits: Tensor) -> None:
    came, wanted = tuple(bits.shape[-2:]), tuple(image.shape[-2:])
    if came != wanted:
        raise DataError(
            f"{other} is {came[0]}x{came[1]} (rows x columns), but its image {path} is "
            f"{wanted[0]}x{wanted[1]}. Check that they belong together, and resize one."
        )


def read_prior_of(
    case: Case, labels: Labels, priors: Priors, size: tuple[int, int]
) -> Float[Tensor, "k h w"]:
    """As `read_prior`, of a case that has one."""
    if case.prior is None:
        raise DataError(f"case {case.name} has no prior, but the model refines priors from files.")
    return read_prior(case.prior, labels, priors, size)
