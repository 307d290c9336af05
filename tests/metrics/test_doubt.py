"""Doubt is the missing probability inside a mask, whatever its size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hidiff.metrics import Doubt


def doubt_of(probability, masks) -> Doubt:
    doubt = Doubt()
    doubt.put(0, np.asarray(probability, np.float32), np.asarray(masks, bool))
    return doubt


def test_it_is_one_less_the_mean_probability_inside_the_mask():
    assert doubt_of([[[0.9, 0.7, 0.1]]], [[[1, 1, 0]]]).mean == pytest.approx(0.2)


def test_an_empty_mask_counts_the_highest_probability_that_it_left_out():
    assert doubt_of([[[0.45, 0.1]]], [[[0, 0]]]).mean == pytest.approx(0.45)


def test_slices_are_pooled_pixel_by_pixel_and_a_slice_put_again_counts_once():
    doubt = doubt_of([[[0.9, 0.9, 0.9]]], [[[1, 1, 1]]])
    for _ in range(2):
        doubt.put(1, np.float32([[[0.5, 0.0, 0.0]]]), np.array([[[True, False, False]]]))
    assert doubt.mean == pytest.approx(1 - (2.7 + 0.5) / 4)


def test_classes_are_averaged():
    probability, masks = [[[0.8, 0.1]], [[0.2, 0.6]]], [[[1, 0]], [[0, 1]]]
    assert doubt_of(probability, masks).by_class == pytest.approx([0.2, 0.4])
    assert doubt_of(probability, masks).mean == pytest.approx(0.3)


def test_without_a_slice_there_is_no_doubt():
    with pytest.raises(ValueError, match="needs one"):
        _ = Doubt().mean


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.5, 1))
def test_the_size_of_an_object_does_not_matter(small, large, probability):
    def square(side):
        mask = np.zeros((1, 32, 32), bool)
        mask[0, :side, :side] = True
        return doubt_of(np.where(mask, probability, 0.01), mask).mean

    assert square(small) == pytest.approx(square(large), abs=1e-5)
