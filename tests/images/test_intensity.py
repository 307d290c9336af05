"""Raw values become what the networks see, alike in training and at prediction."""

import numpy as np
import pytest

from hidiff.images import DataError, Intensity, normalise

RAMP = np.linspace(0, 255, 2 * 20 * 30, dtype=np.float32).reshape(2, 20, 30)


def test_unit_maps_black_to_minus_one_and_white_to_one():
    image = np.array([[[0.0, 127.5, 255.0]]], dtype=np.float32)
    np.testing.assert_allclose(normalise(image, Intensity()), [[[-1, 0, 1]]])


def test_unit_of_16_bits_is_the_same_picture():
    deep = normalise(RAMP * 257, Intensity(full_scale=65535))
    np.testing.assert_allclose(deep, normalise(RAMP, Intensity()), atol=1e-6)


@pytest.mark.parametrize("factor", [257, -1])
def test_unit_refuses_values_beyond_its_scale(factor):
    with pytest.raises(DataError, match=r"wants 0\.\.255 \(kind unit.*full_scale"):
        normalise(RAMP * np.float32(factor), Intensity())


@pytest.mark.parametrize("kind", ["zscore", "percentile"])
def test_gain_and_its_unit_do_not_matter(kind):
    intensity = Intensity(kind=kind)
    np.testing.assert_allclose(
        normalise(RAMP * 37, intensity), normalise(RAMP, intensity), atol=1e-4
    )


def test_zscore_has_mean_0_and_deviation_1_per_channel():
    image = normalise(RAMP + 1, Intensity(kind="zscore"))
    np.testing.assert_allclose(image.mean(axis=(1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(image.std(axis=(1, 2)), 1, atol=1e-4)


@pytest.mark.parametrize("kind", ["zscore", "percentile"])
def test_a_black_surround_does_not_count(kind):
    inside = RAMP + 1
    surrounded = np.pad(inside, ((0, 0), (50, 50), (50, 50)))
    image = normalise(surrounded, Intensity(kind=kind))[:, 50:-50, 50:-50]
    np.testing.assert_allclose(image, normalise(inside, Intensity(kind=kind)), atol=1e-4)


def test_percentile_stays_within_minus_one_and_one():
    image = RAMP.copy()
    image[:, 0, 0] = 1e6
    result = normalise(image, Intensity(kind="percentile"))
    assert result.min() == -1 and result.max() == 1
    assert result.std() > 0.3  # the bright spot did not flatten the rest


@pytest.mark.parametrize("kind", ["zscore", "percentile"])
@pytest.mark.parametrize("level", [0, 3])
def test_an_even_image_becomes_0(kind, level):
    image = np.full((1, 4, 4), level, dtype=np.float32)
    np.testing.assert_array_equal(normalise(image, Intensity(kind=kind)), np.zeros((1, 4, 4)))


@pytest.mark.parametrize("kind", ["unit", "zscore", "percentile"])
def test_the_image_given_is_not_changed(kind):
    image = RAMP.copy()
    result = normalise(image, Intensity(kind=kind))
    assert result.dtype == np.float32
    np.testing.assert_array_equal(image, RAMP)
