"""Items, patches and batches: the same from a cache, in any order, in any worker."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from hidiff.datasets import SYNTHETIC_LABELS, Case, load_split, write_synthetic
from hidiff.images import DataError, Intensity
from hidiff.labels import Labels
from hidiff.loading import (
    PRESETS,
    Draws,
    LoadedCases,
    Reading,
    TrainingPatches,
    collate,
    load_image,
)
from hidiff.loading.transforms import training_transform

LABELS = SYNTHETIC_LABELS["exclusive"]
KEYS = ("image", "y0", "field_of_view")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "set"
    write_synthetic(folder, num_cases=8, size=48, labels="exclusive")
    return load_split("synthetic", folder, "train")


def loaded(cases, cache=True, **options):
    return LoadedCases(cases, Reading(LABELS, 3, Intensity(), **options), cache)


def same(left, right):
    return left["name"] == right["name"] and all(torch.equal(left[k], right[k]) for k in KEYS)


def test_items_are_normalised_float_tensors(cases):
    item = loaded(cases)[1]
    assert item["name"] == cases[1].name
    assert [tuple(item[key].shape) for key in KEYS] == [(3, 48, 48), (3, 48, 48), (1, 48, 48)]
    assert all(item[key].dtype == torch.float32 for key in KEYS)
    assert -1 <= item["image"].min() < 0 < item["image"].max() <= 1
    assert (item["y0"].sum(dim=0) == 1).all()


def test_the_cache_changes_nothing(cases):
    with_cache, without = loaded(cases, cache=True), loaded(cases, cache=False)
    assert len(with_cache) == len(without) == len(cases)
    assert all(same(with_cache[i], without[i]) for i in range(len(cases)))
    assert same(with_cache[-1], with_cache[len(cases) - 1])


def test_with_a_cache_files_are_read_once(cases, tmp_path):
    copies = []
    for case in cases:
        path = tmp_path / f"{case.name}.png"
        path.write_bytes(Path(case.image).read_bytes())
        copies.append(Case(case.name, path, case.mask, None, case.group))
    items = loaded(copies)
    for case in copies:
        case.image.unlink()
    assert same(items[0], loaded(cases)[0])


def test_items_end_where_the_cases_end(cases):
    assert len(list(loaded(cases))) == len(cases)


def test_resizing_moves_image_and_mask_alike(tmp_path):
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 15:45] = 1
    Image.fromarray(mask * 255).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "m.png")
    case = Case("a", tmp_path / "a.png", tmp_path / "m.png", None, "a")
    labels = Labels(kind="one_class", classes={"a": (1,)})
    reading = Reading(labels, 1, Intensity(), size=(20, 20))
    item = LoadedCases([case], reading)[0]
    expected = np.zeros((20, 20))
    expected[5:15, 5:15] = 1
    np.testing.assert_array_equal(item["y0"][0].numpy(), expected)
    np.testing.assert_array_equal((item["image"][0] > 0).numpy(), expected > 0)
    assert item["field_of_view"].shape == (1, 20, 20) and item["field_of_view"].min() == 1
    # Prediction sees what training saw.
    assert torch.equal(load_image(case.image, reading)[:, 0], item["image"])


# Errors


@pytest.mark.parametrize("cache", [True, False])
def test_errors_come_as_they_are(cases, tmp_path, cache):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    case = Case("bad", tmp_path / "bad.png", cases[0].mask, None, "bad")
    with pytest.raises(DataError, match=r"bad\.png cannot be read as a picture"):
        loaded([case], cache=cache)[0]


def test_a_mask_of_another_size_is_refused(cases, tmp_path):
    Image.fromarray(np.zeros((48, 50), np.uint8)).save(tmp_path / "wide.png")
    for files in ((tmp_path / "wide.png", None), (cases[0].mask, tmp_path / "seen.png")):
        Image.fromarray(np.full((48, 50), 255, np.uint8)).save(tmp_path / "seen.png")
        with pytest.raises(DataError, match=r"png is 48x50.*but its image .* is 48x48"):
            loaded([Case("a", cases[0].image, *files, "a")])


def test_an_undeclared_value_names_its_file(cases, tmp_path):
    Image.fromarray(np.full((48, 48), 7, np.uint8)).save(tmp_path / "seven.png")
    with pytest.raises(DataError, match=r"seven\.png: the mask holds the values 7"):
        loaded([Case("a", cases[0].image, tmp_path / "seven.png", None, "a")])


def test_a_wrong_scale_names_its_file(cases):
    with pytest.raises(DataError, match=r"case-000\.png: the image's values .* full_scale"):
        LoadedCases(cases, Reading(LABELS, 3, Intensity(full_scale=1)))


def test_a_case_without_a_mask_is_refused(cases):
    with pytest.raises(DataError, match="case a has no mask"):
        loaded([Case("a", cases[0].image, None, None, "a")])


def test_names_must_differ(cases):
    with pytest.raises(DataError, match="two cases are called 'case-000'"):
        loaded([cases[0], cases[0]])


# Patches


@pytest.fixture
def make_patches(cases):
    def make(seed=0, preset="endoscopy", cache=True):
        transform = training_transform((32, 32), PRESETS[preset], 0.5, LABELS)
        return TrainingPatches(loaded(cases, cache=cache), transform, seed)

    return make


@pytest.mark.parametrize("preset", PRESETS)
def test_the_same_key_is_the_same_patch_in_any_order(make_patches, preset):
    first, second = make_patches(preset=preset), make_patches(preset=preset, cache=False)
    keys = [(epoch, case) for epoch in range(4) for case in range(len(first))]
    there = {key: first[key] for key in keys}
    torch.manual_seed(99)
    np.random.seed(99)
    for key in reversed(keys):
        assert same(second[key], there[key])


def test_epochs_cases_and_seeds_have_patches_of_their_own(make_patches):
    images = [make_patches()[key]["image"] for key in ((0, 0), (1, 0), (0, 1))]
    images.append(make_patches(seed=1)[0, 0]["image"])
    for i, left in enumerate(images):
        assert not any(torch.equal(left, right) for right in images[i + 1 :])


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_cut_the_same_patches(make_patches, num_workers):
    def first_batches(workers):
        patches = make_patches()
        draws = Draws(len(patches), seed=0, batch_size=3)
        loader = DataLoader(patches, batch_sampler=draws, collate_fn=collate, num_workers=workers)
        return [batch for batch, _ in zip(loader, range(4), strict=False)]

    for alone, shared in zip(first_batches(0), first_batches(num_workers), strict=True):
        assert alone["image"].shape == (3, 3, 32, 32)
        assert alone["y0"].shape == (3, 3, 32, 32)
        assert alone["field_of_view"].shape == (3, 1, 32, 32)
        assert same(alone, shared)


def test_images_of_different_sizes_make_no_batch(cases):
    items = [loaded(cases)[0], loaded(cases, size=(32, 32))[1]]
    with pytest.raises(DataError, match=r"sizes \[\(32, 32\), \(48, 48\)\]"):
        collate(items)
