"""Corruptions are deterministic, stay in range, and grow with their strength."""

import numpy as np
import pytest

from hidiff.suites.corruptions import CORRUPTIONS, STRENGTHS, corrupt


@pytest.fixture
def picture() -> np.ndarray:
    """Smooth light, an edge, and texture, in colour, well inside 0..255."""
    draws = np.random.default_rng(0)
    rows, columns = np.mgrid[0:96, 0:128]
    planes = [90 + 60 * np.sin(rows / (9 + c)) * np.cos(columns / 13) for c in range(3)]
    planes = np.stack(planes) + 30 * (columns > 64) + 5 * draws.standard_normal((3, 96, 128))
    return planes.clip(0, 255).astype(np.float32)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_stronger_is_farther_from_the_picture(kind, picture):
    apart = [np.abs(corrupt(picture, kind, s, "a") - picture).mean() for s in STRENGTHS]
    assert apart[0] > 0
    assert apart == sorted(apart) and len(set(apart)) == len(STRENGTHS)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_the_same_twice_of_the_same_size_and_in_range(kind, picture):
    before = picture.copy()
    found = corrupt(picture, kind, 5, "a")
    assert np.array_equal(found, corrupt(picture, kind, 5, "a"))
    assert found.shape == picture.shape and found.dtype == np.float32
    assert found.min() >= 0 and found.max() <= 255
    assert np.array_equal(picture, before)


def test_noise_differs_from_case_to_case_and_has_the_deviation_it_says():
    grey = np.full((1, 200, 200), 128, dtype=np.float32)
    first, second = (corrupt(grey, "noise", 2, name) for name in "ab")
    assert not np.array_equal(first, second)
    assert first.std() == pytest.approx(255 * 0.04, rel=0.02)


@pytest.mark.parametrize("kind", ["blur", "contrast", "resolution", "jpeg"])
def test_an_even_picture_stays_as_it_is(kind):
    even = np.full((1, 64, 64), 77, dtype=np.float32)
    # JPEG rounds a block's mean to what its quality allows
    allowed = 1 if kind == "jpeg" else 1e-3
    assert np.abs(corrupt(even, kind, 3, "a") - even).max() <= allowed


def test_contrast_keeps_the_mean_and_leaves_its_share(picture):
    found = corrupt(picture, "contrast", 4, "a")
    assert found.mean() == pytest.approx(picture.mean(), rel=1e-3)
    assert found.std(axis=(1, 2)) == pytest.approx(0.3 * picture.std(axis=(1, 2)), rel=1e-3)


def test_what_does_not_fit_is_refused(picture):
    with pytest.raises(ValueError, match=r"'fog'.*blur, noise"):
        corrupt(picture, "fog", 1, "a")
    with pytest.raises(ValueError, match="strength is 6"):
        corrupt(picture, "blur", 6, "a")
    with pytest.raises(ValueError, match="anna has 1 channels"):
        corrupt(picture[:1], "colour_cast", 1, "anna")
    with pytest.raises(ValueError, match="values run from"):
        corrupt(3 * picture, "blur", 1, "a")
