import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hidiff.metrics import dice_threshold

maps = arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    elements=st.floats(0, 1, width=32) | st.sampled_from([0.0, 0.25, 1.0]),
)


def expected_dice(probability, cut):
    p = probability.astype(np.float64)
    kept = probability > np.float32(cut)
    if not kept.any():
        return np.prod(1 - p)  # Dice is 1 if the truth is empty too
    return 2 * p[kept].sum() / (kept.sum() + p.sum())


@given(maps)
def test_no_cut_is_expected_to_score_higher(probability):
    cut = dice_threshold(probability)
    best = max(expected_dice(probability, c) for c in {0.0, 1.0, *probability.flat})
    assert expected_dice(probability, cut) == pytest.approx(best, abs=1e-12)


@given(maps)
def test_the_map_is_not_modified_and_the_order_of_pixels_does_not_matter(probability):
    before = probability.copy()
    cut = dice_threshold(probability)
    assert np.array_equal(before, probability)
    assert cut == dice_threshold(np.flip(probability).T.copy())


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_certain_map_is_its_own_mask(value):
    mask = np.full((4, 4), value, np.float32)
    assert ((mask > dice_threshold(mask)) == (value == 1)).all()
    mask[:2] = 1 - value
    assert ((mask > dice_threshold(mask)) == (mask == 1)).all()


def test_a_faint_map_of_a_healthy_image_stays_empty():
    faint = np.full((20, 20), 1e-5, np.float32)
    faint[3, 3] = 0.01
    assert not (faint > dice_threshold(faint)).any()


def test_doubtful_pixels_under_one_half_are_kept_where_that_pays():
    # 10 sure pixels and 10 at 0.45: with them 2 * 14.5 / 34.5, without them 2 * 10 / 24.5.
    probability = np.array([[1.0] * 10 + [0.45] * 10 + [0.0] * 10], np.float32)
    assert 2 * 14.5 / 34.5 > 2 * 10 / 24.5
    assert (probability > dice_threshold(probability)).sum() == 20


def test_the_cut_gains_true_dice_on_a_calibrated_map():
    rng = np.random.default_rng(0)
    probability = rng.random((200, 200)).astype(np.float32) ** 4
    truth = rng.random(probability.shape) < probability

    def dice(mask):
        return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())

    cut = dice_threshold(probability)
    assert dice(probability > cut) > dice(probability > 0.5)
    assert cut == pytest.approx(dice(probability > cut) / 2, abs=0.02)
