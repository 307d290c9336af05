"""The cache on the disk changes nothing but the time: never stale, never half, never unpickled."""

import os
import pickle

import numpy as np
import pytest
import torch

from hidiff.datasets import SYNTHETIC_LABELS, load_split, write_synthetic
from hidiff.datasets.sets.nnunet import list_nnunet, read_dataset
from hidiff.images import DataError, Intensity
from hidiff.loading import LoadedCases, Reading, Slicing
from hidiff.loading import cache as module
from hidiff.loading.cache import CACHE_VARIABLE, DiskCache, cache_folder
from tests.nnunet_sets import write_nnunet

CURVE = SYNTHETIC_LABELS["one_class"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def cases(tmp_path):
    write_synthetic(tmp_path / "data", num_cases=5, size=32)
    return load_split("folder", tmp_path / "data", "train")


def load(cases, cache="disk", **changes):
    reading = Reading(CURVE, 3, changes.pop("intensity", Intensity()))
    return LoadedCases(cases, reading, cache)


def same(left, right):
    return left.keys() == right.keys() and all(
        torch.equal(left[key], right[key]) if key != "name" else left[key] == right[key]
        for key in left
    )


def stored(folder):
    return sorted(file for file in folder.rglob("*") if file.is_file())


class Counting:
    """Reads like LoadedCases does, and counts."""

    arguments = ("as they are",)

    def __init__(self):
        self.count = 0

    def __call__(self, case):
        self.count += 1
        values = np.frombuffer(case.image.read_bytes(), np.uint8).astype(np.float32)
        return {"name": case.name, "image": torch.from_numpy(values), "y0": torch.ones(3) > 0}


def test_pictures_are_those_of_the_files(cases):
    plain = load(cases, cache=False)
    for _ in range(2):  # written, then read
        on_disk = load(cases)
        assert all(same(on_disk.stored(i), plain.stored(i)) for i in range(len(cases)))


def test_slices_are_those_of_the_volumes(tmp_path, folder):
    root = write_nnunet(tmp_path / "set")
    cases, labels = list_nnunet(root, "Tr"), read_dataset(root).labels
    reading = Reading(labels, 1, Intensity(kind="zscore"), Slicing(neighbours=1))
    plain = LoadedCases(cases, reading, cache=False)
    for _ in range(2):
        on_disk = LoadedCases(cases, reading, cache="disk")
        assert all(same(on_disk.stored(i), plain.stored(i)) for i in range(len(plain)))
    assert len(stored(folder)) == 2 * 4  # image and mask of each


def test_each_case_is_read_once_and_then_mapped(cases):
    reads = Counting()
    first, again = DiskCache(cases, reads), DiskCache(cases, reads)
    assert all(same(first[i], again[i]) for i in range(len(cases)))
    assert reads.count == len(cases)


def test_a_changed_file_is_read_again(cases):
    reads = Counting()
    items = DiskCache(cases, reads)
    items[0]
    image = cases[0].image
    state = image.stat()
    image.write_bytes(image.read_bytes()[::-1])  # the same length
    os.utime(image, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    changed = items[0]
    assert reads.count == 2
    assert same(changed, reads(cases[0]))


def test_other_settings_are_other_items(cases):
    unit, zscore = load(cases), load(cases, intensity=Intensity(kind="zscore"))
    assert not torch.equal(unit.stored(0)["image"], zscore.stored(0)["image"])
    assert torch.equal(unit.stored(0)["image"], load(cases).stored(0)["image"])


@pytest.mark.parametrize("fault", ["cut", "empty", "gone", "pickle"])
def test_what_is_not_whole_is_read_again(cases, folder, fault):
    reads = Counting()
    items = DiskCache(cases, reads)
    whole = items[0]
    file = next(each for each in stored(folder) if ".image." in each.name)
    if fault == "gone":
        file.unlink()
    elif fault == "pickle":
        file.unlink()
        np.save(file, np.array([Bomb()], dtype=object), allow_pickle=True)
    else:
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content[:-1] if fault == "cut" else b"")
    assert same(items[0], whole)
    assert reads.count == 2


class Bomb:
    """Would tell if it were unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_the_bomb_goes_off_where_it_is_unpickled():
    with pytest.raises(pytest.fail.Exception):
        pickle.loads(pickle.dumps(Bomb()))


def test_a_full_disk_is_said_and_the_item_comes_all_the_same(cases, folder, monkeypatch):
    usage = type("", (), {"free": 10, "total": 1000})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    reads = Counting()
    with pytest.warns(UserWarning, match="takes no more decoded images"):
        assert DiskCache(cases, reads)[0]["name"] == cases[0].name
    assert not stored(folder)


def test_a_missing_file_is_named_as_without_a_cache(cases):
    items = load(cases)
    cases[1].image.unlink()
    with pytest.raises(DataError, match=cases[1].image.name):
        items.stored(1)


def test_the_folder_is_the_users_own(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "hidiff"
