"""One rule makes a plane: it is read, cached, resized, augmented, cropped and put into batches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hidiff.datasets import Case
from hidiff.images import Intensity, read_mask
from hidiff.labels import Labels
from hidiff.loading import (
    PLANES,
    Augmentation,
    LoadedCases,
    PlaneRule,
    Reading,
    TrainingPatches,
    collate,
    count_cache,
    segmentor_input,
)
from hidiff.loading.cache import CACHE_VARIABLE
from hidiff.loading.transforms import training_transform
from tests.volumes import make_grid, write_nifti

LABELS = Labels(kind="one_class", classes={"a": (1,)})
RAW = Intensity(kind="window", window=(-1, 1))
EVERYTHING = Augmentation(
    lens=0.5,
    flip_horizontal=0.5,
    flip_vertical=0.5,
    rotate90=0.5,
    affine=0.7,
    gamma=0.5,
    brightness=0.5,
    noise=0.5,
)


def marks_file(case):
    """The marks of a case lie beside its mask, in a file of 0, 1 and 2."""
    mask = Path(case.mask)
    return mask.with_name(f"marks_{mask.name}")


def read_marks(files):
    values = read_mask(marks_file(files.case), files.geometry, files.case.image)
    return torch.from_numpy(np.array([0, 1, -1], np.int8)[values])[None]


MARKS = PlaneRule(
    count=lambda case, reading: int(marks_file(case).exists()),
    read=read_marks,
    files=lambda case: (marks_file(case),),
    dtype=torch.int8,
    past_lens="zero",
)


def picture(folder, image, values):
    np.save(folder / "image.npy", image[0])
    return folder / "image.npy", lambda name, array: Image.fromarray(array[0]).save(folder / name)


def volume(folder, image, values):
    grid = make_grid(*values.shape[::-1])

    def write(name, array):
        write_nifti(folder / name.replace("png", "nii"), array.transpose(2, 1, 0), grid)

    return write_nifti(folder / "image.nii", image.transpose(2, 1, 0), grid), write


@pytest.fixture(params=[picture, volume])
def case(request, tmp_path, monkeypatch):
    """A picture, or a volume of three slices, whose mark is 1 where its mask is, and -1 beside."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setitem(PLANES, "marks", MARKS)
    draws = np.random.default_rng(0)
    image = draws.uniform(-1, 1, (3, 90, 80)).astype(np.float32)
    marks = draws.choice(3, image.shape, p=[0.5, 0.3, 0.2]).astype(np.uint8)
    file, write = request.param(tmp_path, image, marks)
    write("mask.png", (marks == 1).astype(np.uint8))
    write("marks_mask.png", marks)
    mask = next(path for path in tmp_path.iterdir() if path.stem == "mask")
    return Case("a", file, mask, None, "a")


def agree(item):
    """Marks are -1, 0 and 1, and 1 exactly where the mask is."""
    marks = item["marks"]
    return set(marks.unique().tolist()) == {-1, 0, 1} and torch.equal(marks == 1, item["y0"] > 0)


@pytest.mark.parametrize("size", [None, (64, 96)])
def test_a_new_plane_is_read_resized_and_cached(case, tmp_path, size):
    reading = Reading(LABELS, 1, RAW, size=size)
    plain = LoadedCases([case], reading, cache=False)
    assert plain[0]["marks"].shape == (1, *(size or plain[0]["image"].shape[1:]))
    for cache in (True, "disk", "disk"):  # to the disk written, then read
        loaded = LoadedCases([case], reading, cache)
        for number in range(len(loaded)):
            stored = loaded.stored(number)
            assert stored["marks"].dtype == torch.int8
            assert torch.equal(stored["marks"], plain.stored(number)["marks"])
            assert agree(stored)
    assert len(list((tmp_path / "cache").rglob("*.marks.3.npy"))) == 1


def test_a_changed_file_of_a_new_plane_is_read_again(case):
    reading = Reading(LABELS, 1, RAW)
    before = LoadedCases([case], reading, "disk").stored(0)["marks"]
    file = marks_file(case)
    file.write_bytes(Path(case.mask).read_bytes())
    assert not torch.equal(LoadedCases([case], reading, "disk").stored(0)["marks"], before)


def test_a_new_plane_is_counted_in_the_memory_that_a_cache_takes(case, monkeypatch):
    reading = Reading(LABELS, 1, RAW)
    counted = count_cache([case], reading)
    kept = LoadedCases([case], reading)._items[0]
    assert counted == sum(kept[name].nbytes for name in ("image", "y0", "marks"))
    monkeypatch.delitem(PLANES, "marks")
    assert counted == count_cache([case], reading) + kept["marks"].nbytes


def test_a_new_plane_follows_its_mask_into_patches_and_batches(case):
    transform = training_transform((64, 64), EVERYTHING, 0.5, LABELS)
    patches = TrainingPatches(LoadedCases([case], Reading(LABELS, 1, RAW)), transform, seed=0)
    items = [patches[epoch, 0] for epoch in range(32)]
    assert all(agree(item) for item in items)
    assert all(item["marks"].dtype == torch.float32 for item in items)
    batch = collate(items)
    assert batch["marks"].shape == (32, 1, 64, 64)
    assert segmentor_input(batch).shape == (32, 1, 64, 64)


def test_a_plane_that_feeds_the_segmentor_comes_behind_the_image(case, monkeypatch):
    monkeypatch.setitem(PLANES, "marks", replace(MARKS, feeds_segmentor=True))
    batch = collate([LoadedCases([case], Reading(LABELS, 1, RAW))[0]])
    assert torch.equal(segmentor_input(batch), torch.cat([batch["image"], batch["marks"]], dim=1))


def test_a_case_without_a_plane_lacks_it(case):
    marks_file(case).unlink()
    transform = training_transform((64, 64), EVERYTHING, 0.5, LABELS)
    patches = TrainingPatches(LoadedCases([case], Reading(LABELS, 1, RAW)), transform, seed=0)
    assert set(patches[0, 0]) == {"name", "image", "y0", "field_of_view"}
