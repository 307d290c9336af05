"""From probabilities to labels and uncertainty: against all masks, and known entropies."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hidiff.labels import Labels
from hidiff.prediction import RULES, decide, entropy_bits

ONE = Labels(kind="one_class", classes={"a": (1,)})
EXCLUSIVE = Labels(kind="exclusive", classes={"a": (1,), "b": (2,)})
REGIONS = Labels(kind="regions", classes={"a": (1, 3), "b": (2, 3)})
KINDS = [ONE, EXCLUSIVE, REGIONS]


def probabilities(planes, height=2, width=3):
    shape = (planes, height, width)
    return arrays.arrays(np.float32, shape, elements=st.floats(0, 1, width=32))


def expected_dice(mask, p):
    """Return a mask's expected Dice by the map; an empty one is right if nothing is there."""
    if not mask.any():
        return np.prod(1 - p, dtype=np.float64)
    return 2 * p[mask].sum(dtype=np.float64) / (mask.sum() + p.sum(dtype=np.float64))


@given(p=probabilities(1))
def test_the_dice_rule_finds_the_best_of_all_masks(p):
    every = [np.array(bits, bool).reshape(2, 3) for bits in product([0, 1], repeat=6)]
    best = max(expected_dice(mask, p[0]) for mask in every)
    chosen = decide(p, ONE, "expected_dice") > 0
    assert expected_dice(chosen, p[0]) == pytest.approx(best, abs=1e-6)


@given(p=probabilities(2))
def test_regions_are_cut_each_on_its_own(p):
    planes = decide(p, REGIONS, "expected_dice")
    for plane, probability in zip(planes, p, strict=True):
        assert np.array_equal(plane, decide(probability[None], ONE, "expected_dice"))


@given(weights=probabilities(3))
def test_an_exclusive_pixel_takes_a_class_that_alone_would_have_it(weights):
    p = (weights + 1e-3) / (weights + 1e-3).sum(axis=0)
    labels = decide(p, EXCLUSIVE, "expected_dice")
    alone = np.stack([decide(plane[None], ONE, "expected_dice") for plane in p[1:]])
    assert np.array_equal(labels > 0, alone.any(axis=0))
    for number, wanted in enumerate(alone, start=1):
        assert wanted[labels == number].all()


@pytest.mark.parametrize("labels", KINDS)
def test_half_is_what_labels_decode(labels):
    p = np.random.default_rng(0).random((labels.num_planes, 5, 7), dtype=np.float32)
    assert np.array_equal(decide(p, labels, "half"), labels.decode(p))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("labels", KINDS)
def test_every_rule_gives_labels_of_the_same_form(labels, rule):
    p = np.random.default_rng(0).random((labels.num_planes, 5, 7), dtype=np.float32)
    decided = decide(p, labels, rule)
    assert decided.dtype == np.uint8
    assert decided.shape == ((2, 5, 7) if labels is REGIONS else (5, 7))
    assert decided.max() <= (2 if labels is EXCLUSIVE else 1)
    truth = labels.encode(np.random.default_rng(0).integers(0, 2, (5, 7)))
    assert np.array_equal(decide(truth, labels, rule), labels.decode(truth))  # sure is sure


# Uncertainty


@pytest.mark.parametrize(
    ("p", "bits"), [(0.0, 0.0), (1.0, 0.0), (0.5, 1.0), (0.25, 0.8112781), (0.75, 0.8112781)]
)
def test_entropy_of_a_plane_is_in_bits(p, bits):
    assert entropy_bits(np.full((1, 1, 1), p, np.float32), ONE) == pytest.approx(bits, abs=1e-6)
    both = entropy_bits(np.full((2, 1, 1), p, np.float32), REGIONS)
    assert both.shape == (2, 1, 1) and both == pytest.approx(bits, abs=1e-6)


@pytest.mark.parametrize(
    ("p", "bits"),
    [((1, 0, 0), 0.0), ((0.5, 0.5, 0), 1.0), ((0.5, 0.25, 0.25), 1.5), ((1 / 3,) * 3, np.log2(3))],
)
def test_entropy_of_exclusive_classes_is_of_all_together(p, bits):
    probability = np.array(p, np.float32)[:, None, None]
    assert entropy_bits(probability, EXCLUSIVE) == pytest.approx(bits, abs=1e-6)


@given(weights=probabilities(3))
def test_uncertainty_lies_between_0_and_its_largest(weights):
    p = (weights + 1e-3) / (weights + 1e-3).sum(axis=0)
    for labels, most in ((EXCLUSIVE, np.log2(3)), (ONE, 1.0), (REGIONS, 1.0)):
        bits = entropy_bits(p[: labels.num_planes], labels)
        assert bits.dtype == np.float32
        assert bits.min() >= 0 and bits.max() <= most + 1e-6
