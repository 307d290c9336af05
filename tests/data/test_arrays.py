"""Arrays as volumes: slices first, and a name for the image and its mask."""

import h5py
import numpy as np
import pytest

from hidiff.data import DataError, is_volume, read_grid, to_slices
from hidiff.data.volume import read_volume, read_volume_mask

IMAGE = np.random.default_rng(0).uniform(size=(3, 4, 5)).astype(np.float32)
MASK = np.random.default_rng(1).integers(0, 9, (3, 4, 5)).astype(np.uint8)


def write(path, **arrays):
    if path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
    elif path.suffix == ".npy":
        np.save(path, arrays["image"])
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    return path


@pytest.mark.parametrize("ending", [".npz", ".h5", ".npy.h5"])
def test_image_and_mask_of_one_file_are_told_apart_by_name(tmp_path, ending):
    file = write(tmp_path / f"case{ending}", image=IMAGE, label=MASK)
    assert is_volume(file)
    came = read_volume(file, 1)
    np.testing.assert_array_equal(to_slices(came.values[0], came.grid, "axial"), IMAGE)
    np.testing.assert_array_equal(read_volume_mask(file, came.grid, file), MASK)
    assert read_grid(file).slice_shape("axial") == IMAGE.shape
    assert read_grid(file).spacing_mm == (1, 1, 1)


@pytest.mark.parametrize("ending", [".npy", ".npz", ".h5"])
def test_channels_come_first(tmp_path, ending):
    image = np.stack([IMAGE, 2 * IMAGE])
    file = write(tmp_path / f"case{ending}", image=image)
    assert is_volume(file)
    np.testing.assert_array_equal(read_volume(file, 2).values, image)


def test_pictures_in_arrays_are_no_volumes(tmp_path):
    assert not is_volume(write(tmp_path / "a.npy", image=IMAGE))
    assert not is_volume(write(tmp_path / "b.npz", image=IMAGE, label=MASK[0]))
    assert not is_volume(tmp_path / "nowhere.npy")


def test_arrays_of_unknown_names_are_told(tmp_path):
    file = write(tmp_path / "a.h5", first=IMAGE, second=MASK)
    with pytest.raises(DataError, match="holds the arrays first, second, but its image is looked"):
        read_volume(file, 1)


def test_python_objects_are_never_unpickled(tmp_path):
    file = tmp_path / "bad.npz"
    np.savez(file, image=np.array([[[[{"a": 1}]]]], dtype=object))
    with pytest.raises(DataError, match=r"bad.npz cannot be read as an array"):
        read_volume(file, 1)


@pytest.mark.parametrize("ending", [".npz", ".h5"])
def test_a_file_of_another_kind_is_named(tmp_path, ending):
    file = tmp_path / f"bad{ending}"
    file.write_bytes(b"hello")
    with pytest.raises(DataError, match="cannot be read as an array"):
        read_volume(file, 1)


def test_two_axes_are_no_volume(tmp_path):
    with pytest.raises(DataError, match=r"has the shape \(3, 4\)"):
        read_volume(write(tmp_path / "flat.h5", image=IMAGE[:, :, 0]), 1)
