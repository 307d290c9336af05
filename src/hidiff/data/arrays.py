"""Arrays as volumes (.npy, .npz, .h5): (d, h, w) or (c, d, h, w), slices first, no geometry.

A file of several arrays, as Synapse has them, holds the image as `image` or `data` and its mask as
`label`, `mask` or `seg`; a file of one array may call it anything.
"""

import contextlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from hidiff.data.case import DataError
from hidiff.data.grid import Grid
from hidiff.data.voxels import Holds, Volume, check_memory, check_numbers

KEYS: dict[Holds, tuple[str, ...]] = {
    "image": ("image", "data"),
    "mask": ("label", "mask", "seg"),
}
HDF5 = (".h5", ".hdf5")

# Slices go up, rows back, columns to the left, as in axial slices: then nothing is turned.
AFFINE = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)


def read_array_volume(path: Path, holds: Holds) -> Volume:
    """The image's array, or the mask's."""
    key, shape = _choose(path, holds)
    grid = _grid(path, shape)
    check_memory(path, int(np.prod(shape, dtype=np.float64)) * 4)
    with _said(path):
        values = _load(path, key)
    return Volume(check_numbers(path, values).reshape(-1, *grid.shape), grid, path)


def read_array_grid(path: Path, holds: Holds) -> Grid:
    """From the head alone."""
    return _grid(path, _choose(path, holds)[1])


def is_array_volume(path: Path) -> bool:
    """Of .npy and .npz: whether it holds (c, d, h, w), or (d, h, w) beside a mask like it."""
    with contextlib.suppress(DataError):
        shapes = _shapes(path)
        image = next((shapes[key] for key in KEYS["image"] if key in shapes), None)
        mask = next((shapes[key] for key in KEYS["mask"] if key in shapes), None)
        if len(shapes) == 1:
            (image,) = shapes.values()
        return image is not None and (len(image) == 4 or (len(image) == 3 and image == mask))
    return False


def _choose(path: Path, holds: Holds) -> tuple[str, tuple[int, ...]]:
    shapes = _shapes(path)
    if len(shapes) == 1:
        return next(iter(shapes.items()))
    for key in KEYS[holds]:
        if key in shapes:
            return key, shapes[key]
    raise DataError(
        f"{path} holds the arrays {', '.join(shapes) or 'none'}, but its {holds} is looked for as "
        f"{' or '.join(KEYS[holds])}. Rename it, or save it in a file of its own."
    )


def _shapes(path: Path) -> Mapping[str, tuple[int, ...]]:
    """Every array of a file and its shape, from the heads."""
    if not path.is_file():
        raise DataError(f"{path} is not there, or is no file. Check the data folder's path.")
    suffix = path.suffix.lower()
    with _said(path):
        if suffix in HDF5:
            with h5py.File(path, "r") as file:
                return {k: v.shape for k, v in file.items() if isinstance(v, h5py.Dataset)}
        if suffix == ".npy":
            with open(path, "rb") as file:
                return {path.stem: _npy_shape(file)}
        with zipfile.ZipFile(path) as archive:
            shapes = {}
            for name in archive.namelist():
                with archive.open(name) as file:
                    shapes[name.removesuffix(".npy")] = _npy_shape(file)
            return shapes


def _npy_shape(file) -> tuple[int, ...]:
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    return read(file)[0]


def _load(path: Path, key: str) -> np.ndarray:
    if path.suffix.lower() in HDF5:
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
    """What numpy and h5py raise, of many types, as a DataError that names the file."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # numpy, zipfile and h5py have one for each way to be wrong
        raise DataError(
            f"{path} cannot be read as an array ({error}). It may be cut off, or hold Python "
            "objects, which are never unpickled. Save it again as plain numbers."
        ) from None
