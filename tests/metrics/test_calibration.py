import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hidiff.metrics import brier_score, expected_calibration_error


def planes(*values):
    return np.array(values, np.float32).reshape(1, 1, -1)


def test_brier_score_by_hand():
    assert brier_score(planes(0.5, 1, 0), planes(1, 1, 1)) == pytest.approx([(0.25 + 0 + 1) / 3])


def test_calibration_error_by_hand():
    # Two bins are in use: 0.3, 0.3 with one 1 (gap 0.2), and 0.9 with none (gap 0.9).
    error = expected_calibration_error(planes(0.3, 0.3, 0.9), planes(1, 0, 0))
    assert error == pytest.approx([(2 * 0.2 + 0.9) / 3])


def test_a_truthful_map_is_calibrated_and_a_certain_wrong_one_is_not():
    rng = np.random.default_rng(0)
    probability = rng.random((2, 300, 300), dtype=np.float32)
    y0 = (rng.random(probability.shape) < probability).astype(np.float32)
    assert (expected_calibration_error(probability, y0) < 0.01).all()
    assert brier_score(probability, y0) == pytest.approx([1 / 6, 1 / 6], abs=0.003)
    assert (expected_calibration_error(1 - y0, y0) == 1).all()
    assert (brier_score(y0, y0) == 0).all()


@given(st.integers(0, 2**32 - 1))
def test_planes_are_measured_on_their_own_inside_the_field_of_view(seed):
    rng = np.random.default_rng(seed)
    probability = rng.random((3, 6, 5)).astype(np.float32)
    y0 = rng.integers(0, 2, probability.shape).astype(np.float32)
    inside = rng.random((6, 5)) < 0.5
    inside[0, 0] = True
    for measure in (brier_score, expected_calibration_error):
        together = measure(probability, y0, inside)
        alone = [
            measure(p[inside][None, None], y[inside][None, None])[0]
            for p, y in zip(probability, y0, strict=True)
        ]
        assert together == pytest.approx(alone)
