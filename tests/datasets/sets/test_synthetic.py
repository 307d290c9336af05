"""Drawn sets: exact masks of each kind, the same again from the same seed."""

import numpy as np
import pytest

from hidiff.datasets import SYNTHETIC_LABELS, write_synthetic
from hidiff.images import read_image
from hidiff.images.picture_masks import read_picture_mask as read_mask


@pytest.mark.parametrize("kind", SYNTHETIC_LABELS)
def test_masks_hold_what_the_labels_declare(tmp_path, kind):
    write_synthetic(tmp_path / "set", num_cases=5, size=48, labels=kind)
    shown = sum(
        SYNTHETIC_LABELS[kind].encode(read_mask(file)).sum(axis=(1, 2))
        for file in (tmp_path / "set" / "masks").iterdir()
    )
    assert (shown > 20).all()


def test_regions_overlap(tmp_path):
    write_synthetic(tmp_path / "set", num_cases=8, size=48, labels="regions")
    masks = [read_mask(file) for file in (tmp_path / "set" / "masks").iterdir()]
    assert any((mask == 3).any() for mask in masks)


def test_curves_are_thin_and_darker_than_what_is_around_them(tmp_path):
    write_synthetic(tmp_path / "set", num_cases=5)
    for file in (tmp_path / "set" / "masks").iterdir():
        curve = read_mask(file) > 0
        image = read_image(tmp_path / "set" / "images" / file.name, channels=1).slice(0)[0]
        assert image[curve].mean() < image[~curve].mean() - 10
        assert curve.mean() < 0.25


def test_the_seed_decides(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_synthetic(tmp_path / name, num_cases=5, size=32, seed=seed)
    a, b, c = (read_image(tmp_path / name / "images" / "case-002.png", 3).values for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_more_cases_do_not_change_the_first(tmp_path):
    for name, count in (("few", 5), ("many", 9)):
        write_synthetic(tmp_path / name, num_cases=count, size=32)
    few, many = (read_mask(tmp_path / name / "masks" / "case-003.png") for name in ("few", "many"))
    np.testing.assert_array_equal(few, many)


def test_a_failure_leaves_nothing_behind(tmp_path):
    with pytest.raises(Exception):  # noqa: B017 (whatever it is: what counts is the folder)
        write_synthetic(tmp_path / "set", size=-1)
    assert not list(tmp_path.iterdir())


def test_too_few_cases_are_refused(tmp_path):
    with pytest.raises(ValueError, match="num_cases is 2, but 5 or more"):
        write_synthetic(tmp_path / "set", num_cases=2)
