"""Marks as people make them: right where they must be, deterministic, and messy where meant."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hidiff.marks import (
    STROKES,
    Click,
    MessyPerson,
    click_deepest,
    click_inside,
    deepest_point,
    depth,
    draw_marks,
    draw_stroke,
    find_errors,
    fitting_radius,
    pick_error,
    seeded,
    simulate_marks,
    thin,
)
from hidiff.marks.strokes import break_up, warp

EIGHT = np.ones((3, 3))
SIZE = (40, 48)


def blobs(seed, planes=1, exclusive=False, size=SIZE):
    """Smooth random masks; of exclusive classes one plane a pixel."""
    rng = seeded(seed, "blobs")
    noise = np.stack([ndimage.gaussian_filter(rng.standard_normal(size), 3) for _ in range(planes)])
    if exclusive:
        return noise.argmax(axis=0)[None] == np.arange(planes)[:, None, None]
    return noise > 0.02


def footprint(mark, size=SIZE):
    mask = np.zeros(size, bool)
    found = mark.footprint(size, size)
    mask[found.box] = found.mask
    return mask


# Errors


def test_errors_by_hand():
    y0, predicted = np.zeros((2, 1, 6, 9), bool)
    y0[0, 1:3, 1:4] = predicted[0, 4:6, 6:8] = True
    y0[0, 3, 4] = True  # meets at a corner: the same error
    missing, extra = find_errors(predicted, y0)
    assert (missing.size, missing.add, extra.size, extra.add) == (7, True, 4, False)
    assert np.array_equal(missing.mask, y0[0]) and np.array_equal(extra.mask, predicted[0])


@given(seed=st.integers(0, 50), exclusive=st.booleans())
@settings(max_examples=20, deadline=None)
def test_errors_cover_each_wrong_pixel_once(seed, exclusive):
    y0, predicted = (blobs(2 * seed + i, 3, exclusive) for i in range(2))
    errors = find_errors(predicted, y0, exclusive=exclusive)
    covered = np.sum([error.mask for error in errors], axis=0)
    wrong = (predicted != y0).sum(axis=0)
    assert np.array_equal(covered, wrong // 2 if exclusive else wrong)
    assert [error.size for error in errors] == sorted((e.size for e in errors), reverse=True)
    assert all(ndimage.label(error.mask, EIGHT)[1] == 1 for error in errors)


def test_the_deepest_point_of_a_square_is_its_middle_and_the_rim_of_the_image_is_outside():
    mask = np.zeros((11, 11), bool)
    mask[2:9, 2:9] = True
    assert deepest_point(mask) == (5, 5)
    assert deepest_point(np.ones((7, 9), bool)) == (3, 3)


@given(seed=st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_a_click_that_fits_touches_the_error_alone_and_a_wider_one_does_not(seed):
    for error in find_errors(blobs(2 * seed), blobs(2 * seed + 1))[:4]:
        for click in (click_deepest(error), click_inside(error, seeded(seed))):
            assert not (footprint(click) & ~error.mask).any()
            assert (footprint(click) & error.mask).any()
            wider = Click(plane=0, point=click.point, radius=click.radius + 0.01)
            row, column = np.array(click.point)
            beyond = min(row, column, SIZE[0] - 1 - row, SIZE[1] - 1 - column) + 0.5
            assert (footprint(wider) & ~error.mask).any() or beyond <= click.radius + 0.01
    assert fitting_radius(np.zeros(SIZE, bool), (3, 3)) == 0


def test_clicks_of_training_lie_in_the_inner_half_of_the_depth_everywhere_there():
    mask = np.zeros((1, 21, 21), bool)
    mask[0, 3:18, 3:18] = True
    [error] = find_errors(np.zeros_like(mask), mask)
    rng = seeded(0)
    points = {click_inside(error, rng).point for _ in range(800)}
    inner = depth(mask[0]) > 4
    assert points == {tuple(map(float, point)) for point in np.argwhere(inner)}


def test_errors_are_drawn_by_their_size():
    mask = np.zeros((1, 8, 20), bool)
    mask[0, 1:7, 1:11] = mask[0, 1:5, 14:19] = True  # 60 and 20 pixels
    errors = find_errors(np.zeros_like(mask), mask)
    rng = seeded(0)
    large = sum(pick_error(errors, rng).size == 60 for _ in range(2000))
    assert abs(large / 2000 - 0.75) < 0.04  # four deviations


# Strokes


@given(seed=st.integers(0, 200))
@settings(max_examples=30, deadline=None)
def test_a_centre_line_is_thin_inside_and_as_connected_as_the_mask(seed):
    mask = blobs(seed)[0]
    line = thin(mask)
    assert not (line & ~mask).any()
    assert ndimage.label(line, EIGHT)[1] == ndimage.label(mask, EIGHT)[1]
    assert np.array_equal(thin(line), line)
    # no pixel has all of its neighbours on the line: it is nowhere three pixels thick
    assert not ndimage.binary_erosion(line, EIGHT).any()


def test_the_centre_line_of_a_bar_runs_along_its_middle():
    bar = np.zeros((11, 30), bool)
    bar[3:8, 2:28] = True
    line = thin(bar)
    assert line[5, 6:24].all() and not line[[3, 4, 6, 7], 8:22].any()


@pytest.mark.parametrize("name", STROKES)
@pytest.mark.parametrize("seed", range(8))
def test_clean_strokes_are_thin_lines_over_the_mask(name, seed):
    mask = find_errors(np.zeros((1, *SIZE), bool), blobs(seed))[0].mask
    stroke = STROKES[name](mask, seeded(seed))
    assert (stroke & mask).any()
    assert stroke.sum() < mask.sum()
    if name != "line":  # a straight line may leave a bent mask
        assert not (stroke & ~mask).any()


def test_breaking_leaves_about_half_and_warping_moves():
    stroke = np.zeros((200, 200), bool)
    stroke[100, 20:180] = True
    shares, moved = [], []
    for seed in range(60):
        broken, warped = break_up(stroke, seeded(seed)), warp(stroke, seeded(seed))
        assert broken.any() and not (broken & ~stroke).any()
        shares.append(broken.sum() / stroke.sum())
        rows = np.abs(np.argwhere(warped)[:, 0] - 100)
        assert rows.max() <= 8  # the longest move, and a pixel of width
        moved.append(rows.max())
    assert 0.4 < np.mean(shares) < 0.6
    assert np.mean(moved) > 1.5


@given(seed=st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_an_exact_stroke_lies_inside_its_error(seed):
    for error in find_errors(blobs(2 * seed), blobs(2 * seed + 1))[:3]:
        stroke = draw_stroke(error, seeded(seed))
        assert stroke.mask.any() and not (stroke.mask & ~error.mask).any()
        assert stroke.exact and (stroke.plane, stroke.add) == (error.plane, error.add)
        assert not draw_stroke(error, seeded(seed), rough=True).exact


def test_rough_strokes_on_a_thin_vessel_lie_partly_beside_it():
    vessel = np.zeros((1, 64, 128), bool)
    vessel[0, 30:33, 4:124] = True
    [error] = find_errors(np.zeros_like(vessel), vessel)
    beside = []
    for seed in range(60):
        mask = draw_stroke(error, seeded(seed), rough=True).mask
        beside.append((mask & ~vessel[0]).sum() / mask.sum())
    # of real ones on OCTA500 about half
    assert 0.3 < np.mean(beside) < 0.7


# Training and people


@given(seed=st.integers(0, 100), exclusive=st.booleans())
@settings(max_examples=20, deadline=None)
def test_exact_marks_of_training_say_the_truth_and_are_drawn_from_their_generator_alone(
    seed, exclusive
):
    y0, predicted = (blobs(2 * seed + i, 3, exclusive) for i in range(2))
    before = predicted.copy()
    marks, again = (
        simulate_marks(predicted, y0, 5, seeded(seed, "marks"), exclusive=exclusive)
        for _ in range(2)
    )
    assert 1 <= len(marks) <= 5 and np.array_equal(predicted, before)
    drawn, twin = (draw_marks(each, SIZE, SIZE, 3, exclusive=exclusive) for each in (marks, again))
    assert drawn.hints.equal(twin.hints) and drawn.author.equal(twin.author)
    exact = drawn.exact.numpy()
    assert np.array_equal(drawn.y0.numpy()[exact] > 0, y0[exact])


def test_a_right_mask_gets_no_mark():
    y0 = blobs(0)
    assert simulate_marks(y0, y0, 5, seeded(0)) == []
    assert MessyPerson().click(y0, y0, seeded(0)) is None


def test_painted_clicks_at_the_deepest_points_mend_a_mask_pixel_by_pixel():
    y0, predicted = blobs(0), blobs(1)
    while errors := find_errors(predicted, y0):
        before = (y0 != predicted).sum()
        click = click_deepest(errors[0])
        predicted[0, footprint(click)] = click.add
        assert before - (y0 != predicted).sum() == footprint(click).sum() >= 1
    assert np.array_equal(predicted, y0)


def test_a_messy_person_is_as_messy_as_meant():
    y0, predicted = blobs(0, size=(96, 96)), np.zeros((1, 96, 96), bool)
    predicted[0, :30] = y0[0, :30]
    largest = find_errors(predicted, y0)[0]
    fits = fitting_radius(largest.mask, deepest_point(largest.mask))
    clicks = [MessyPerson().click(predicted, y0, seeded(seed)) for seed in range(600)]
    shares = np.array([click.radius / fits for click in clicks])
    assert 0.5 <= shares.min() < 0.55 and 1.45 < shares.max() <= 1.5
    right = (predicted == y0).all(axis=0)
    aside = np.mean([right[tuple(round(x) for x in click.point)] for click in clicks])
    assert 0.15 < aside < 0.45  # wrong places, right ones inside, and what jitter throws out
    tidy = MessyPerson(width=(1, 1), jitter=0, border=0, wrong=0, inside=0)
    assert tidy.click(predicted, y0, seeded(0)).point == deepest_point(largest.mask)
    lost = MessyPerson(wrong=1)
    for seed in range(50):
        row, column = map(int, lost.click(predicted, y0, seeded(seed)).point)
        assert right[row, column]
    at_the_rim = MessyPerson(border=1, jitter=0, wrong=0, inside=0)
    depths = depth(largest.mask)
    for seed in range(50):
        row, column = map(int, at_the_rim.click(predicted, y0, seeded(seed)).point)
        assert 0 < depths[row, column] <= depths.max() / 2
