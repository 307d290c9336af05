"""Cases as tensors: slices by number, cut into training patches, and put together in batches."""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import torch
from torch.utils.data import Dataset

from hidiff.datasets.case import Case
from hidiff.images import DataError, first_file, format_of
from hidiff.loading.cache import Cache, cached
from hidiff.loading.planes import (
    Item,
    count_bytes,
    in_floats,
    patch_planes,
    read_item,
    slice_item,
)
from hidiff.loading.reading import Reading
from hidiff.seeding import derive, generator

if TYPE_CHECKING:  # prediction imports this module too, and does without MONAI
    import monai.transforms.compose


@runtime_checkable
class Loaded(Protocol):
    """Items by number, as TrainingPatches cuts them up."""

    def __len__(self) -> int: ...

    def stored(self, index: int) -> Item: ...

    def showing_a_class(self, index: int) -> Sequence[int]: ...


class LoadedCases(Dataset[Item]):
    """The slices of all cases by number, case after case; a picture is one slice.

    Each is an item: name, image (c h w), y0 (k h w), field_of_view (1 h w), and every other plane
    of PLANES that the case has; raters (r k h w) are booleans, the others float32. With `cache`
    all cases are read once, at the start, and kept; "disk" keeps them in `cache_folder()`, each as
    it is asked for.
    """

    def __init__(self, cases: Sequence[Case], reading: Reading, cache: Cache = True) -> None:
        check_names(cases)
        self.cases = list(cases)
        self.reading = reading
        self._items = cached(self.cases, _ReadItem(reading), cache)
        self._slices: list[tuple[int, int]] = []
        """case and slice of each number"""
        self._names: list[str] = []
        self._first: list[int] = []
        """number of each case's first slice"""
        self._shown: dict[int, list[int]] = {}
        for number, case in enumerate(self.cases):
            format, plane = format_of(case.image), reading.slicing.plane
            depth = format.count_slices(first_file(case.image), plane)
            self._first.append(len(self._slices))
            self._slices += [(number, z) for z in range(depth)]
            self._names += [format.geometry_type.slice_key(case.name, z) for z in range(depth)]

    def __len__(self) -> int:
        return len(self._slices)

    def __getitem__(self, index: int) -> Item:
        return in_floats(self.stored(index))

    def stored(self, index: int) -> Item:
        """Return the item as it lies in the cache, bits as booleans: read only."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"slice {index} of {len(self)}")
        number, z = self._slices[index]
        neighbours = self.reading.slicing.neighbours
        return slice_item(self._items[number], z, neighbours, self._names[index])

    def showing_a_class(self, index: int) -> Sequence[int]:
        """Return the slices of the same case that show a class, in place of an empty one.

        A case without another slice has none to offer, so its mask need not be looked through.
        """
        number, _ = self._slices[index]
        if number not in self._shown:
            first = self._first[number]
            end = (*self._first, len(self))[number + 1]
            self._shown[number] = self._find_shown(number, first) if end - first > 1 else []
        return self._shown[number]

    def _find_shown(self, number: int, first: int) -> list[int]:
        y0 = self._items[number]["y0"][self.reading.labels.class_planes]
        present = y0.flatten(2).any(dim=2).any(dim=0).tolist()
        return [first + z for z, shown in enumerate(present) if shown]


def count_cache(cases: Sequence[Case], reading: Reading) -> int:
    """Count the bytes that LoadedCases keeps of the cases, from their images' heads alone.

    An image that does not read counts nothing: reading it will tell.
    """
    total = 0
    for case in cases:
        file, plane = first_file(case.image), reading.slicing.plane
        with contextlib.suppress(DataError):
            format, size = format_of(case.image), reading.size
            if size is None and reading.slicing.spacing_mm is not None:
                size = reading.size_of(format.read_geometry(file, plane))
            if size is None:
                pixels = format.count_values(file)
            else:
                pixels = format.count_slices(file, plane) * size[0] * size[1]
            total += pixels * count_bytes(case, reading)
    return total


class TrainingPatches(Dataset[Item]):
    """Patches by key (epoch, slice number): each a pure function of the seed and its key.

    So workers, batches, ranks and resumed runs all cut the same patch. Keys come from `Draws`;
    the transform from `training_transform`. `foreground_share` of a case's empty slices are
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
        epoch, number = key
        # MONAI's generators take 32 bits.
        state = derive(self.seed, "patch", epoch, number) % 2**32
        self.transform.set_random_state(seed=state)
        item = self.loaded.stored(self._choose(epoch, number))
        return cast(Item, self.transform(self._for_patch(item, epoch, number)))

    def _for_patch(self, item: Item, epoch: int, number: int) -> Item:
        """Return the planes of a patch, with the mask of one rater where there are several."""
        names = {"name", *patch_planes()}
        patch = {name: value for name, value in item.items() if name in names}
        if "raters" in item:
            raters = item["raters"]
            draws = generator(self.seed, "rater", epoch, number)
            patch["y0"] = raters[int(torch.randint(len(raters), (), generator=draws))]
        return patch

    def _choose(self, epoch: int, number: int) -> int:
        shown = self.loaded.showing_a_class(number)
        if not shown or number in shown:
            return number
        draws = generator(self.seed, "slice", epoch, number)
        if torch.rand((), generator=draws) >= self.foreground_share:
            return number
        return shown[int(torch.randint(len(shown), (), generator=draws))]


def collate(items: Sequence[Item]) -> dict[str, Any]:
    """Return a batch: name (list), and each plane of patches (b p h w)."""
    sizes = {tuple(item["image"].shape[-2:]) for item in items}
    if len(sizes) > 1:
        raise DataError(
            f"a batch holds images of the sizes {sorted(sizes)}, but one size is wanted. "
            "Set the data's size, cut patches, or use batches of 1."
        )
    batch: dict[str, Any] = {"name": [item["name"] for item in items]}
    for name in patch_planes():
        if name in items[0]:
            batch[name] = torch.stack([item[name] for item in items])
    return batch


def check_names(cases: Sequence[Case]) -> None:
    """Raise DataError for two cases of one name."""
    names = [case.name for case in cases]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"two cases are called {twice!r}, but names must differ. Rename one.")


class _ReadItem:
    """`read_item` with its settings, as caches call it."""

    def __init__(self, reading: Reading) -> None:
        self.arguments = (reading,)

    def __call__(self, case: Case) -> Item:
        return read_item(case, *self.arguments)
