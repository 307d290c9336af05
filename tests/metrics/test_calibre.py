"""Widths of vessels: of lines drawn by hand, and by the definition, ball by ball."""

import numpy as np
import pytest

from hidiff.metrics import local_width


def by_definition(mask, sides):
    """The largest ball that holds each pixel and no pixel outside the mask; every ball is tried."""
    places = np.argwhere(np.ones(np.add(mask.shape, 2), bool)) - 1
    solid = np.pad(mask, 1).ravel()
    inside, outside = places[solid] * sides, places[~solid] * sides
    radius = np.array([np.linalg.norm(outside - place, axis=1).min() for place in inside])
    apart = np.linalg.norm(inside[:, None] - inside, axis=-1)
    width = np.zeros(mask.shape)
    held = np.where(apart < radius - 1e-9, radius, 0).max(axis=1, initial=0)
    width[mask] = 2 * held - min(sides)
    return width


@pytest.mark.parametrize("width", [1, 3, 5])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_line_is_as_wide_as_it_was_drawn(width, axis):
    mask = np.zeros((30, 30), bool)
    mask[10 : 10 + width] = True
    mask = np.moveaxis(mask, axis, 0)
    assert (local_width(mask)[mask] == width).all()
    assert (local_width(mask, (0.5, 0.5))[mask] == width / 2).all()
    assert (local_width(mask)[~mask] == 0).all()


def test_a_thin_branch_of_a_thick_vessel_is_thin():
    mask = np.zeros((40, 40), bool)
    mask[10:17] = True
    mask[17:, 20] = True
    width = local_width(mask)
    assert (width[10:17, 8:32] == 7).all()
    assert (width[20:, 20] == 1).all()


@pytest.mark.parametrize(
    "shape, sides", [((12, 14), (1.0, 1.0)), ((11, 9), (0.5, 1.3)), ((6, 7, 8), (2.0, 0.7, 0.7))]
)
@pytest.mark.parametrize("density", [0.0, 0.7, 0.95, 1.0])
def test_widths_equal_the_definition(shape, sides, density):
    rng = np.random.default_rng(0)
    for _ in range(5):
        mask = rng.random(shape) < density
        mask.flags.writeable = False
        spacing = None if set(sides) == {1.0} else sides
        np.testing.assert_allclose(local_width(mask, spacing), by_definition(mask, sides))


def test_a_round_vessel_in_a_volume_has_its_diameter():
    grid = np.indices((20, 21, 21))
    tube = (grid[1] - 10) ** 2 + (grid[2] - 10) ** 2 <= 4**2
    diameter = 2 * np.sqrt(tube[0].sum() / np.pi)
    assert local_width(tube)[5:15][tube[5:15]] == pytest.approx(diameter, abs=1)
