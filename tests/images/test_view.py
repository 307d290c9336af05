"""The lit view of a photograph is found, whatever its unit, and dark places in it belong to it."""

import numpy as np
import pytest

from hidiff.images import find_view


def photograph(radius=40, black=8.0, size=(100, 120)):
    """A round view in reddish light, noise everywhere, and where it is."""
    draws = np.random.default_rng(0)
    rows, columns = np.mgrid[: size[0], : size[1]]
    inside = (rows - 50) ** 2 + (columns - 60) ** 2 <= radius**2
    image = np.where(inside, np.array([150, 90, 40])[:, None, None], black)
    return image + draws.uniform(0, 6, image.shape), inside


@pytest.mark.parametrize("unit", [lambda x: x, lambda x: x / 255, lambda x: (x - 90) / 40])
def test_a_round_view_is_found_to_its_rim(unit):
    image, inside = photograph()
    found = find_view(unit(image))
    assert not (inside & ~found).any()
    assert (found & ~inside).mean() < 0.06  # the rim's blur, two pixels


def test_a_dark_place_and_a_black_band_above():
    image, _ = photograph()
    image[:, 45:55, 55:65] = 0
    image[:, :8] = 0
    image[:, 2:5, 2:5] = 250  # a speck of light is no view
    found = find_view(image)
    assert found[45:55, 55:65].all()
    assert not found[:8].any()


def test_a_picture_that_fills_its_frame_or_is_of_one_value_is_all_view():
    lit = np.random.default_rng(0).uniform(80, 200, (3, 64, 64))
    assert find_view(lit).mean() > 0.99
    assert find_view(np.full((1, 32, 32), 7.0)).all()
