"""Arrays as volumes (.npy, .npz, .h5): (d, h, w) or (c, d, h, w), slices first, no geometry.

A file of several arrays, as Synapse has them, holds the image as `image` or `data` and its mask as
`label`, `mask` or `seg`; a file of one array may call it anything.
"""

import contextlib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hidiff.images.files import DataError
from hidiff.images.grid import Grid
from hidiff.images.voxels import Holds, Volume, check_memory, check_numbers

if TYPE_CHECKING:  # imported when an HDF5 file comes: all others do without it
    import h5py

KEYS: dict[Holds, tuple[str, ...]] = {
    "image": ("image", "data"),
    "mask": ("label", "mask", "seg"),
}
HDF5 = (".h5", ".hdf5")

# Slices go up, rows back, columns to the left, as in axial slices: then nothing is turned.
AFFINE = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)


class Head(NamedTuple):
    """The shape and type of an array, known before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype


def read_array_volume(path: Path, holds: Holds) -> Volume:
    """Return the image's array, or the mask's."""
    key, head = _choose(path, holds)
    grid = _grid(path, head.shape)
    check_numbers(path, np.empty(0, head.dtype))  # one word may be of any length
    bytes_each = max(4, head.dtype.itemsize)
    check_memory(path, int(np.prod(head.shape, dtype=np.float64)) * bytes_each)
    with _said(path):
        values = _load(path, key)
    return Volume(check_numbers(path, values).reshape(-1, *grid.shape), grid, path)


def read_array_grid(path: Path, holds: Holds) -> Grid:
    """Return the grid of an array, from the file's header alone."""
    return _grid(path, _choose(path, holds)[1].shape)


def is_array_volume(path: Path) -> bool:
    """Return True if a .npy or .npz holds (c, d, h, w), or (d, h, w) beside a mask like it."""
    with contextlib.suppress(DataError):
        shapes = {key: head.shape for key, head in _heads(path).items()}
        image = next((shapes[key] for key in KEYS["image"] if key in shapes), None)
        mask = next((shapes[key] for key in KEYS["mask"] if key in shapes), None)
        if len(shapes) == 1:
            (image,) = shapes.values()
        return image is not None and (len(image) == 4 or (len(image) == 3 and image == mask))
    return False


def _choose(path: Path, holds: Holds) -> tuple[str, Head]:
    heads = _heads(path)
    if len(heads) == 1:
        return next(iter(heads.items()))
    for key in KEYS[holds]:
        if key in heads:
            return key, heads[key]
    raise DataError(
        f"{path} holds the arrays {', '.join(heads) or 'none'}, but its {holds} is looked for as "
        f"{' or '.join(KEYS[holds])}. Rename it, or save it in a file of its own."
    )


def _heads(path: Path) -> Mapping[str, Head]:
    """Return every array of a file by its name."""
    if not path.is_file():
        raise DataError(f"{path} is not there, or is no file. Check the data folder's path.")
    suffix = path.suffix.lower()
    with _said(path):
        if suffix in HDF5:
            import h5py

            with h5py.File(path, "r") as file:
                return {name: Head(each.shape, each.dtype) for name, each in _own(path, file)}
        if suffix == ".npy":
            with open(path, "rb") as file:
                return {path.stem: _npy_head(file)}
        with zipfile.ZipFile(path) as archive:
            heads = {}
            for name in archive.namelist():
                with archive.open(name) as file:
                    heads[name.removesuffix(".npy")] = _npy_head(file)
            return heads


def _own(path: Path, file: "h5py.File") -> Iterator[tuple[str, "h5py.Dataset"]]:
    """Return the arrays that lie in the file itself.

    HDF5 can point into other files in three ways.
    """
    import h5py

    for name in map(str, file):
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            continue
        found = file[name]
        if not isinstance(found, h5py.Dataset):
            continue
        if found.external or found.is_virtual:
            raise DataError(
                f"{path} has the numbers of {name} in another file, where they are not read. "
                "Copy them into it."
            )
        yield name, found


def _npy_head(file) -> Head:
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = read(file)
    return Head(shape, dtype)


def _load(path: Path, key: str) -> np.ndarray:
    if path.suffix.lower() in HDF5:
        import h5py

        with h5py.File(path, "r") as file:
            return np.asarray(file[key])
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        return loaded[key]


def _grid(path: Path, shape: tuple[int, ...]) -> Grid:
    if len(shape) not in (3, 4) or 0 in shape:
        raise DataError(
            f"{path} has the shape {shape}, but (d, h, w) or (c, d, h, w) is wanted: slices, rows, "
            "columns, and channels before them."
        )
    d, h, w = shape[-3:]
    return Grid((d, h, w), AFFINE)


@contextlib.contextmanager
def _said(path: Path):
    """Turn any error of numpy or h5py into a DataError that names the file."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # numpy, zipfile and h5py have one for each way to be wrong
        raise DataError(
            f"{path} cannot be read as an array ({error}). It may be cut off, or hold Python "
            "objects, which are never unpickled. Save it again as plain numbers."
        ) from None
