"""The demonstration set: made again it is the same, and no test slice has a trained neighbour."""

import sys
from itertools import product

import numpy as np
import pytest
from PIL import Image

from hidiff.datasets import BRAIN_LABELS, write_brain
from hidiff.datasets.sets.brain import load_tissues, slices


def test_no_slice_of_another_side_is_nearer_than_its_own_neighbours():
    found = slices()
    for (_, a, side), (_, b, other) in product(found, found):
        assert side == other or abs(a - b) >= 4  # neighbours of one slab are 2 mm apart


def test_names_are_unique_and_every_side_sees_low_and_high_slices():
    found = slices()
    assert len({name for name, _, _ in found}) == len(found) == 50
    for side in ("train", "validation", "test"):
        heights = [height for _, height, s in found if s == side]
        assert min(heights) < 90 < max(heights)


def test_without_nilearn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "nilearn", None)
    monkeypatch.setitem(sys.modules, "nilearn.datasets", None)
    with pytest.raises(ImportError, match=r"the brain set needs .*hidiff\[demo\]"):
        load_tissues()


@pytest.fixture(scope="module")
def brain(tmp_path_factory):
    pytest.importorskip("nilearn", reason="the extra demo is not installed")
    folder = tmp_path_factory.mktemp("demo") / "brain"
    write_brain(folder, seed=0)
    return folder


def pixels(folder, kind, name):
    return np.asarray(Image.open(folder / kind / f"{name}.png"))


def test_written_again_it_is_the_same_and_another_seed_is_another_image(brain, tmp_path):
    write_brain(tmp_path / "again", seed=0)
    write_brain(tmp_path / "other", seed=1)
    for name, _, _ in slices()[::7]:
        for kind in ("images", "masks"):
            np.testing.assert_array_equal(
                pixels(brain, kind, name), pixels(tmp_path / "again", kind, name)
            )
        assert (pixels(brain, "images", name) != pixels(tmp_path / "other", "images", name)).any()


def test_every_slice_shows_every_tissue_in_the_order_of_its_brightness(brain):
    for name, _, _ in slices():
        image, mask = pixels(brain, "images", name), pixels(brain, "masks", name)
        assert image.shape == mask.shape == (96, 96)
        assert BRAIN_LABELS.encode(mask).sum(axis=(1, 2)).min() > 0
        background, grey, white, fluid = (image[mask == value].mean() for value in range(4))
        assert background < fluid < grey < white
        assert not mask[[0, -1]].any() and not mask[:, [0, -1]].any()  # nothing is cut off


def test_brightness_alone_does_not_tell_the_tissues(brain):
    """Else the demonstration would show nothing: no cut between grey and white gets near 1."""
    name = "slab-4_height-078"
    image, mask = pixels(brain, "images", name), pixels(brain, "masks", name)
    inside = (mask == 1) | (mask == 2)
    best = max(((image > cut) == (mask == 2))[inside].mean() for cut in range(256))
    assert 0.7 < best < 0.97


def test_a_folder_in_use_is_not_written_over(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ValueError, match="is not empty"):
        write_brain(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
