"""Volumes as slices: what training sees of them."""

import numpy as np
import pytest
import torch

from hidiff.datasets import Case
from hidiff.images import DataError, Grid, Intensity, to_slices
from hidiff.loading import (
    LoadedCases,
    Reading,
    Slicing,
    TrainingPatches,
    count_cache,
)
from hidiff.loading.augmentation import Augmentation
from hidiff.loading.transforms import training_transform
from tests.volumes import LABELS, make_grid, make_mask, write_nifti

RAW = Intensity(kind="window", window=(-1, 1))  # leaves values from -1 to 1 as they are
LABEL = LABELS["exclusive"]


def make_case(folder, name, grid, mask=None, image=None):
    image = np.random.default_rng(1).uniform(-1, 1, grid.shape) if image is None else image
    mask = make_mask(grid) if mask is None else mask
    return Case(
        name,
        write_nifti(folder / f"{name}.nii.gz", image.astype(np.float32), grid),
        write_nifti(folder / f"{name}_mask.nii.gz", mask, grid),
        None,
        name,
    )


@pytest.fixture
def cases(tmp_path):
    return [
        make_case(tmp_path, "a", make_grid(6, 5, 3)),
        make_case(tmp_path, "b", make_grid(6, 5, 2)),
    ]


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_slices_are_those_of_the_file(cases, plane, cache):
    loaded = LoadedCases(cases, Reading(LABEL, 1, RAW, Slicing(plane)), cache=cache)
    grid = make_grid(6, 5, 3)
    depth = grid.slice_shape(plane)[0]
    mask = to_slices(make_mask(grid), grid, plane)
    for z in range(depth):
        item = loaded[z]
        assert item["name"] == f"a:{z}"
        np.testing.assert_array_equal(item["y0"].numpy(), LABEL.encode(mask[z]))
    assert loaded[depth]["name"] == "b:0"
    with pytest.raises(IndexError):
        loaded[len(loaded)]


def test_neighbours_are_channels_and_the_end_slices_stand_in(cases):
    alone = LoadedCases(cases[:1], Reading(LABEL, 1, RAW, Slicing()))
    three = LoadedCases(cases[:1], Reading(LABEL, 1, RAW, Slicing(neighbours=1)))
    planes = [alone[z]["image"][0] for z in range(3)]
    for z, wanted in enumerate(([0, 0, 1], [0, 1, 2], [1, 2, 2])):
        assert torch.equal(three[z]["image"], torch.stack([planes[i] for i in wanted]))


def test_channels_keep_their_neighbours_together(tmp_path):
    grid = make_grid(4, 4, 3)
    image = np.stack([np.full(grid.shape, 0.25), np.full(grid.shape, -0.5)], axis=-1)
    image += np.linspace(0, 0.1, 3)[:, None]
    case = make_case(tmp_path, "two", grid, image=image)
    seen = LoadedCases([case], Reading(LABEL, 2, RAW, Slicing(neighbours=1)))[1]["image"][:, 0, 0]
    np.testing.assert_allclose(seen, [0.25, 0.3, 0.35, -0.5, -0.45, -0.4], atol=1e-6)


def test_a_volume_is_normalised_as_a_whole(tmp_path):
    grid = make_grid(4, 4, 2)
    image = np.ones(grid.shape)
    image[:, :, 1] = 3
    reading = Reading(LABEL, 1, Intensity(kind="zscore"))
    loaded = LoadedCases([make_case(tmp_path, "a", grid, image=image)], reading)
    assert [loaded[z]["image"].mean().item() for z in (0, 1)] == pytest.approx([-1, 1])


def test_spacing_resizes_rows_and_columns_alone(tmp_path):
    grid = Grid((8, 6, 3), np.diag([-1.0, 2.0, 5.0, 1.0]))
    case = make_case(tmp_path, "a", grid)
    loaded = LoadedCases([case], Reading(LABEL, 1, RAW, Slicing(spacing_mm=(1.0, 2.0))))
    assert len(loaded) == 3
    assert loaded[0]["image"].shape == (1, 12, 4)
    assert loaded[0]["y0"].shape == (4, 12, 4)
    assert (loaded[0]["y0"].sum(dim=0) == 1).all()


def test_bytes_kept_are_counted_from_the_heads(cases):
    loaded = LoadedCases(cases, Reading(LABEL, 1, RAW, Slicing()))
    volumes = [loaded._items[number] for number in range(2)]
    kept = sum(each["image"].nbytes + each["y0"].nbytes for each in volumes)
    assert count_cache(cases, Reading(LABEL, 1, RAW)) == kept


def test_empty_slices_are_replaced_as_often_as_asked(tmp_path):
    grid = make_grid(64, 64, 4)
    mask = np.zeros(grid.shape, np.uint8)
    mask[20:40, 20:40, 2] = 4
    case = make_case(tmp_path, "a", grid, mask=mask)
    loaded = LoadedCases([case], Reading(LABEL, 1, RAW, Slicing()))
    transform = training_transform((64, 64), Augmentation(), 0.0, LABEL)
    for share, wanted in ((0.0, {"a:0"}), (1.0, {"a:2"}), (0.5, {"a:0", "a:2"})):
        patches = TrainingPatches(loaded, transform, seed=0, foreground_share=share)
        drawn = [patches[epoch, 0]["name"] for epoch in range(20)]
        assert set(drawn) == wanted
        assert drawn == [patches[epoch, 0]["name"] for epoch in range(20)]
        assert patches[0, 2]["name"] == "a:2"


def test_an_empty_volume_keeps_its_slices(tmp_path):
    grid = make_grid(64, 64, 2)
    case = make_case(tmp_path, "a", grid, mask=np.zeros(grid.shape, np.uint8))
    loaded = LoadedCases([case], Reading(LABEL, 1, RAW, Slicing()))
    transform = training_transform((64, 64), Augmentation(), 0.5, LABEL)
    patches = TrainingPatches(loaded, transform, 0, 1.0)
    assert patches[0, 1]["name"] == "a:1"


def test_a_value_that_no_class_declares_names_its_file(tmp_path):
    grid = make_grid(4, 4, 2)
    case = make_case(tmp_path, "a", grid, mask=np.full(grid.shape, 255, np.uint8))
    with pytest.raises(DataError, match=r"a_mask.nii.gz: the mask holds the values 255"):
        LoadedCases([case], Reading(LABEL, 1, RAW, Slicing()))
