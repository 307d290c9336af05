"""Items kept in memory, kept on the disk as plain arrays, or read each time."""

import glob
import hashlib
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch

from hidiff.datasets.case import Case
from hidiff.loading.planes import PLANES
from hidiff.weights import atomic_write

CACHE_VARIABLE = "HIDIFF_CACHE"  # environment: where items are kept on the disk
Cache = bool | Literal["disk"]

# Part of every key: raise it whenever what is read out of the same files changes.
FORMAT = 2
FREE_SHARE = 0.1  # of the disk, which stays free
DETACHED = (".mhd", ".nhdr")  # heads, whose voxels lie in a file beside


@runtime_checkable
class Load(Protocol):
    """Reads a case's item; `arguments` are all that the result depends on beside the files."""

    arguments: tuple[Any, ...]

    def __call__(self, case: Case) -> dict[str, Any]: ...


def cached(cases: Sequence[Case], load: Load, cache: Cache) -> "Items":
    """Return the items of the cases by number. True reads all of them now, and keeps them."""
    if cache == "disk":
        return DiskCache(cases, load)
    if not cache:
        return ReadEachTime(cases, load)
    with ThreadPoolExecutor() as pool:  # decoding lets go of Python's lock
        return list(pool.map(load, cases))


class Items(Protocol):
    """Items by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> dict[str, Any]: ...


class ReadEachTime:
    """Items that are read whenever they are asked for."""

    def __init__(self, cases: Sequence[Case], load: Load) -> None:
        self.cases = list(cases)
        self.load = load

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.load(self.cases[index])


class DiskCache:
    """Items in a folder of arrays, mapped into memory; a missing one is read and written there.

    An item is found by its files' paths, sizes and times and by the settings that it was read with,
    so a changed one is read again; voxels that lie in a file beside their head (MHD, NHDR) must
    share its stem. Several processes may share the folder, and it may be deleted at any time.
    (MONAI's PersistentDataset does the like, but unpickles what it finds.)
    """

    def __init__(self, cases: Sequence[Case], load: Load, folder: Path | None = None) -> None:
        self.cases = list(cases)
        self.load = load
        self.folder = folder or cache_folder()

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> dict[str, Any]:
        case = self.cases[index]
        key = item_key(case, self.load.arguments)
        if key is None:
            return self.load(case)  # which says what is wrong with its files
        stem = self.folder / key[:2] / key
        item = _read(stem, case.name)
        if item is None:
            item = self.load(case)
            self._write(stem, item)
        return item

    def _write(self, stem: Path, item: dict[str, Any]) -> None:
        arrays = {name: item[name].numpy() for name in PLANES if name in item}
        try:
            stem.parent.mkdir(parents=True, exist_ok=True)
            disk = shutil.disk_usage(stem.parent)
            wanted = sum(array.nbytes for array in arrays.values())
            if disk.free - wanted < FREE_SHARE * disk.total:
                raise OSError(f"less than {FREE_SHARE:.0%} of the disk would stay free")
            for name, array in arrays.items():
                # the count tells later whether all of them are there
                file = stem.with_name(f"{stem.name}.{name}.{len(arrays)}.npy")
                with atomic_write(file) as temporary:
                    np.save(temporary, array, allow_pickle=False)
        except OSError as error:
            warnings.warn(
                f"{self.folder} takes no more decoded images ({error}): they are read anew each "
                f"time. Make room there, or set ${CACHE_VARIABLE} to another folder.",
                stacklevel=2,
            )


def cache_folder() -> Path:
    """Return $HIDIFF_CACHE, else hidiff/ in the user's folder for caches."""
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own).expanduser()
    above = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(above).expanduser() / "hidiff"


def item_key(case: Case, arguments: tuple[Any, ...]) -> str | None:
    """Return a key that changes when a case's files or the settings change; None if one is missing.

    The names of the planes belong to it, so that a new plane makes new items.
    """
    # a representation of settings is complete and the same in every process
    state = [repr((FORMAT, tuple(PLANES), case, arguments))]
    try:
        for path in _files(case):
            file = path.stat()
            state.append(f"{path.resolve()} {file.st_size} {file.st_mtime_ns}")
    except OSError:
        return None
    return hashlib.blake2b("\n".join(state).encode(), digest_size=20).hexdigest()


def _files(case: Case) -> Iterator[Path]:
    """Yield every file that the item is read from."""
    for rule in PLANES.values():
        for path in map(Path, rule.files(case)):
            if path.is_dir():
                yield from sorted(path.iterdir())
            elif path.suffix.lower() in DETACHED:
                yield from sorted(path.parent.glob(f"{glob.escape(path.stem)}.*"))
            else:
                yield path


def _read(stem: Path, name: str) -> dict[str, Any] | None:
    """Read an item; None for one that is missing or not whole."""
    item: dict[str, Any] = {"name": name}
    files = list(stem.parent.glob(f"{stem.name}.*.npy"))
    for file in files:
        _, tensor, count, _ = file.name.split(".")
        if int(count) != len(files):
            return None
        try:
            # "c": torch warns of arrays that cannot be written; the file itself never is
            array = np.load(file, mmap_mode="c", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        item[tensor] = torch.from_numpy(array)
    return item if files else None
