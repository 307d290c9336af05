"""Marks spread where the image is alike, and stop where it changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hidiff.marks import spread_marks

SIZE = (12, 16)


def halves() -> np.ndarray:
    """Return an image with a sharp edge in the middle."""
    image = np.zeros((1, *SIZE), dtype=np.float32)
    image[:, :, 8:] = 1
    return image


def mark(row: int, column: int, says: float) -> tuple[np.ndarray, np.ndarray]:
    known = np.zeros((1, *SIZE), dtype=bool)
    known[0, row, column] = True
    return known, np.where(known, says, 0).astype(np.float32)


def test_a_mark_spreads_over_its_half_and_stops_at_the_edge():
    probability = np.full((1, *SIZE), 0.2, dtype=np.float32)
    found = spread_marks(halves(), probability, *mark(6, 4, 1.0), spread=10.0)
    assert found[0, 6, 4] == 1
    assert found[0, 6, 5] > found[0, 6, 7] > 0.21  # it falls with the distance
    np.testing.assert_allclose(found[0, :, 8:], 0.2, atol=2e-3)
    taken = spread_marks(halves(), 1 - probability, *mark(6, 4, 0.0), spread=10.0)
    np.testing.assert_allclose(taken, 1 - found, atol=2e-3)


def test_without_spread_or_marks_nothing_changes():
    probability = np.random.default_rng(0).random((2, *SIZE)).astype(np.float32)
    image = np.random.default_rng(1).random((3, *SIZE)).astype(np.float32)
    known = np.zeros((2, *SIZE), dtype=bool)
    y0 = np.zeros((2, *SIZE), dtype=np.float32)
    assert np.array_equal(spread_marks(image, probability, known, y0, 3.0), probability)
    known[1, 3, 3] = True
    assert np.array_equal(spread_marks(image, probability, known, y0, 0.0), probability)
    found = spread_marks(image, probability, known, y0, 3.0)
    assert np.array_equal(found[0], probability[0])  # nobody marked this plane
    assert not np.array_equal(found[1], probability[1])


def test_it_solves_the_equations_of_the_random_walker():
    """On a line of three pixels of one colour: p2 = (p1 + p3 + faith * q2) / (2 + faith)."""
    image = np.zeros((1, 1, 3), dtype=np.float32)
    probability = np.array([[[0.5, 0.3, 0.5]]], dtype=np.float32)
    known = np.array([[[True, False, True]]])
    y0 = np.array([[[1.0, 0.0, 0.0]]], dtype=np.float32)
    found = spread_marks(image, probability, known, y0, spread=2.0)
    assert found[0, 0].tolist() == pytest.approx([1, (1 + 0 + 0.5 * 0.3) / 2.5, 0], abs=1e-3)


@settings(deadline=None, max_examples=30)
@given(
    arrays.arrays(np.float32, (2, 5, 7), elements=st.floats(0, 1, width=32)),
    arrays.arrays(np.float32, (1, 5, 7), elements=st.floats(-3, 3, width=32)),
    arrays.arrays(np.bool_, (2, 5, 7)),
    arrays.arrays(np.bool_, (2, 5, 7)),
    st.floats(0.01, 100),
)
def test_marks_are_obeyed_and_probabilities_stay_between_what_they_come_from(
    probability, image, known, says, spread
):
    y0 = (says & known).astype(np.float32)
    found = spread_marks(image, probability, known, y0, spread)
    assert found.dtype == probability.dtype
    assert np.array_equal(found[known], y0[known])
    for plane in range(2):
        values = np.where(known[plane], y0[plane], probability[plane])
        assert values.min() - 0.01 <= found[plane].min()
        assert found[plane].max() <= values.max() + 0.01
