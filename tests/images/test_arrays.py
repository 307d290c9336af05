"""Arrays as volumes: slices first, and a name for the image and its mask."""

import h5py
import numpy as np
import pytest

from hidiff.images import DataError, to_slices
from tests.volumes import is_volume, read_grid, read_volume, read_volume_mask

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
    with pytest.raises(DataError, match=r"bad.npz holds object, but one number a voxel"):
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


def test_a_word_of_two_gigabytes_is_refused_before_it_is_read(tmp_path):
    file = tmp_path / "long.npy"
    with file.open("wb") as opened:
        head = {"descr": "|S2000000000", "fortran_order": False, "shape": (1, 1, 1, 1)}
        np.lib.format.write_array_header_1_0(opened, head)
    with pytest.raises(DataError, match=r"long\.npy holds .*one number a voxel is wanted"):
        read_volume(file, 1)


def external(file, secret):
    file.create_dataset("image", IMAGE.shape, "f4", external=[(secret, 0, IMAGE.nbytes)])


def linked(file, secret):
    file["image"] = h5py.ExternalLink(secret, "image")


def virtual(file, secret):
    layout = h5py.VirtualLayout(IMAGE.shape, "f4")
    layout[:] = h5py.VirtualSource(secret, "image", IMAGE.shape)
    file.create_virtual_dataset("image", layout)


@pytest.mark.parametrize("lead_out", [external, linked, virtual])
def test_an_array_of_another_file_is_not_read(tmp_path, lead_out):
    secret = str(write(tmp_path / "secret.h5", image=IMAGE))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        lead_out(file, secret)
    with pytest.raises(DataError, match=r"a\.h5"):
        read_volume(tmp_path / "a.h5", 1)
