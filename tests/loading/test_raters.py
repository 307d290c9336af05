"""Several raters of one image: each is shown in turn, and most of them make the truth."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from hidiff.datasets import Case
from hidiff.images import DataError, Intensity
from hidiff.labels import Labels
from hidiff.loading import (
    Augmentation,
    LoadedCases,
    Reading,
    TrainingPatches,
    collate,
    most_raters,
)
from hidiff.loading.transforms import training_transform

ONE = Labels(kind="one_class", classes={"thing": (1,)})
SIDE = 64


@pytest.fixture
def loaded(tmp_path):
    """One image of four raters, who mark 1, 2, 3 and 4 rows."""
    Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(tmp_path / "image.png")
    masks = []
    for rater in range(1, 5):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[:rater] = 1
        masks.append(tmp_path / f"{rater}.png")
        Image.fromarray(mask).save(masks[-1])
    case = Case("a", tmp_path / "image.png", tuple(masks), None, "a")
    return LoadedCases([case], Reading(ONE, 1, Intensity()))


def patches_of(loaded, seed):
    transform = training_transform((SIDE, SIDE), Augmentation(), 0.0, ONE)
    return TrainingPatches(loaded, transform, seed)


def test_every_rater_is_shown_as_often_and_by_the_key_alone(loaded):
    patches = patches_of(loaded, seed=3)
    rows = [int(patches[epoch, 0]["y0"].sum()) // SIDE for epoch in range(400)]
    counts = Counter(rows)
    assert set(counts) == {1, 2, 3, 4}
    assert min(counts.values()) > 70  # of 100 expected: six deviations are 52
    backwards = [int(patches[epoch, 0]["y0"].sum()) // SIDE for epoch in reversed(range(20))]
    assert backwards[::-1] == rows[:20]
    other = [int(patches_of(loaded, 4)[epoch, 0]["y0"].sum()) // SIDE for epoch in range(20)]
    assert other != rows[:20]


def test_a_patch_is_like_any_other(loaded):
    batch = collate([patches_of(loaded, 0)[0, 0]] * 2)
    assert set(batch) == {"name", "image", "y0", "field_of_view"}
    assert batch["y0"].shape == (2, 1, SIDE, SIDE)


def test_the_cache_keeps_every_rater(loaded):
    assert [int(bits.sum()) // SIDE for bits in loaded[0]["raters"]] == [1, 2, 3, 4]


def test_the_truth_is_what_at_least_half_say(loaded):
    assert loaded[0]["y0"][0].sum() == 3 * SIDE  # rows of 4, 3, 2 of 4 raters


def test_exclusive_classes_take_the_most_votes_and_stay_exclusive():
    labels = Labels(kind="exclusive", classes={"one": (1,), "two": (2,)})
    votes = np.array([[0, 0, 1], [1, 2, 2], [2, 2, 1], [0, 1, 2], [1, 1, 0]])
    raters = torch.from_numpy(
        np.stack([labels.encode_bool(votes[:, rater][None]) for rater in range(3)])
    )
    truth = most_raters(raters, labels)
    assert (truth.sum(dim=0) == 1).all()
    assert labels.decode(truth.numpy()).tolist() == [[0, 2, 2, 0, 1]]


def test_one_rater_is_the_truth():
    bits = torch.rand(1, 2, 4, 4) > 0.5
    regions = Labels(kind="regions", classes={"whole": (1, 2), "core": (2,)})
    assert torch.equal(most_raters(bits, regions), bits[0])


def test_a_rater_of_another_size_is_named(tmp_path, loaded):
    (case,) = loaded.cases
    Image.fromarray(np.zeros((SIDE, 8), np.uint8)).save(tmp_path / "3.png")
    with pytest.raises(DataError, match=r"3\.png is 64x8"):
        LoadedCases([case], Reading(ONE, 1, Intensity()))
