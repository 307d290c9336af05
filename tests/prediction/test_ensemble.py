"""The mean of several models is what it should be, and asks that they be of one kind."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hidiff.experiment import make_hybrid, make_predictor
from hidiff.prediction import Ensemble
from tests.tiny import make_tiny, shake


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    folder = tmp_path_factory.mktemp("members")
    recipes = [make_tiny(folder, "exclusive", seed=seed) for seed in (0, 1, 2)]
    return [make_predictor(shake(make_hybrid(recipe)), recipe) for recipe in recipes]


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (70, 64, 3), dtype=np.uint8)


def test_probability_and_prior_are_means_over_the_members(members, image):
    each = [member.predict(image, name="a", steps=1) for member in members]
    whole = Ensemble(members).predict(image, name="a", steps=1)
    assert np.abs(each[0].probability - each[1].probability).max() > 1e-3
    for name in ("probability", "prior"):
        mean = np.mean([getattr(one, name) for one in each], axis=0)
        assert_allclose(getattr(whole, name), mean, atol=1e-6)
    assert_allclose(whole.probability.sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(whole.labels, whole.probability.argmax(axis=0))


def test_the_variance_is_that_over_all_samples(members, image):
    twice = [members[0], members[0]]
    one = members[0].predict(image, name="a", steps=1, samples=2)
    both = Ensemble(twice).predict(image, name="a", steps=1, samples=2)
    assert_allclose(both.variance, one.variance, atol=1e-6)
    apart = Ensemble(members).predict(image, name="a", steps=1)
    alone = [member.predict(image, name="a", steps=1).probability for member in members]
    assert_allclose(apart.variance, np.var(alone, axis=0), atol=1e-6)


def test_one_member_is_itself(members, image):
    alone, whole = (
        p.predict(image, name="a", steps=1) for p in (members[0], Ensemble(members[:1]))
    )
    assert np.array_equal(alone.probability, whole.probability)
    assert whole.variance is None


def test_models_of_another_kind_are_refused(members, tmp_path):
    recipe = make_tiny(tmp_path, "exclusive", data={"size": [64, 64]})
    other = make_predictor(make_hybrid(recipe), recipe)
    with pytest.raises(ValueError, match="model 2 differs from the first in size"):
        Ensemble([members[0], other])
    with pytest.raises(ValueError, match="no model to average"):
        Ensemble([])
