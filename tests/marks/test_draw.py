"""Marks as planes: what they touch at any size, which one wins, and what exclusive classes say."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hidiff.marks import NOBODY, Area, Click, Stroke, draw_marks

SIDES = st.integers(1, 40)
SIZES = st.tuples(SIDES, SIDES)
RADII = st.one_of(st.just(0.0), st.floats(0, 12))
SHARES = st.floats(0, 1, exclude_max=True)


def touched(mark, size, image_size):
    """Return the pixels that one mark touches, by drawing it."""
    return draw_marks([mark], size, image_size, 1).hints[0] != 0


def place(share, image_size):
    """A point of the image from shares of its sides."""
    return tuple(s * side - 0.5 for s, side in zip(share, image_size, strict=True))


def nearest(points, radius, size, image_size, grid=25):
    """Return the pixels by a second way: samples of each pixel against samples of the line."""
    (start, end), found = np.array(points), torch.zeros(size, dtype=torch.bool)
    line = start + np.linspace(0, 1, 200)[:, None] * (end - start)
    inner = (np.arange(grid) + 0.5) / grid
    for i in range(size[0]):
        for j in range(size[1]):
            rows = (i + inner) * image_size[0] / size[0] - 0.5
            columns = (j + inner) * image_size[1] / size[1] - 0.5
            near = np.abs(line[:, None, 0] - rows).min(), np.abs(line[:, None, 1] - columns).min()
            if math.hypot(*near) > radius:  # cannot be near in both
                continue
            distance = np.hypot(
                line[:, 0, None, None] - rows[:, None], line[:, 1, None, None] - columns
            )
            found[i, j] = bool(distance.min() < radius)
    return found


# What is touched


def test_a_click_of_a_whole_radius_reaches_so_many_pixels_to_each_side():
    for radius in (1, 4):
        disk = touched(Click(plane=0, point=(10, 10), radius=radius), (21, 21), (21, 21))
        assert disk[10].sum() == disk[:, 10].sum() == 2 * radius + 1
        assert torch.equal(disk, disk.flip(0)) and torch.equal(disk, disk.T)


def test_a_click_without_radius_is_the_pixel_under_it():
    disk = touched(Click(plane=0, point=(3, 5.4), radius=0), (8, 9), (8, 9))
    assert disk.nonzero().tolist() == [[3, 5]]
    # of an image twice as large, each pixel is half of one
    half = touched(Click(plane=0, point=(3, 5), radius=0), (4, 5), (8, 10))
    assert half.nonzero().tolist() == [[1, 2]]


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    image_size=SIZES,
    shares=st.tuples(SHARES, SHARES, SHARES, SHARES),
    radius=st.floats(0.5, 8),
)
def test_a_stroke_touches_what_lies_nearer_than_its_radius(size, image_size, shares, radius):
    points = (place(shares[:2], image_size), place(shares[2:], image_size))
    stroke = touched(Stroke(plane=0, points=points, radius=radius), size, image_size)
    # samples miss what is touched by less than their own distance
    assert not (nearest(points, radius - 0.001, size, image_size) & ~stroke).any()
    coarse = 2 * max(n / (25 * m) for n, m in zip(image_size, size, strict=True))
    coarse += math.dist(*points) / 200
    assert not (stroke & ~nearest(points, radius + coarse, size, image_size)).any()


@settings(deadline=None)
@given(size=SIZES, image_size=SIZES, share=st.tuples(SHARES, SHARES), radius=RADII)
def test_a_click_is_seen_at_any_size(size, image_size, share, radius):
    click = Click(plane=0, point=place(share, image_size), radius=radius)
    small, whole = touched(click, size, image_size), touched(click, image_size, image_size)
    assert small.any() and whole.any()
    # a network pixel that the mark touches counts: it is touched if a pixel inside of it is
    for row, column in whole.nonzero().tolist():
        rows, columns = (
            slice(i * m // n, -(-(i + 1) * m // n))
            for i, m, n in zip((row, column), size, image_size, strict=True)
        )
        assert small[rows, columns].any()


@settings(deadline=None)
@given(
    size=SIZES,
    image_size=SIZES,
    shares=st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=4),
    radius=RADII,
)
def test_a_stroke_holds_the_clicks_at_its_points_and_is_one_piece(size, image_size, shares, radius):
    points = tuple(place(share, image_size) for share in shares)
    stroke = touched(Stroke(plane=0, points=points, radius=radius), size, image_size)
    for point in points:
        click = touched(Click(plane=0, point=point, radius=radius), size, image_size)
        assert not (click & ~stroke).any()
    assert ndimage.label(stroke.numpy(), structure=np.ones((3, 3)))[1] == 1


@settings(deadline=None)
@given(size=SIZES, image_size=SIZES, seed=st.integers(0, 99))
def test_a_painted_area_touches_each_pixel_that_overlaps_it_and_no_other(size, image_size, seed):
    mask = np.random.default_rng(seed).random(image_size) < 0.1
    found = touched(Area(plane=0, mask=mask), size, image_size).numpy()
    # both sizes cut into pieces of one grid, on which overlap is equality
    fine = [math.lcm(a, b) for a, b in zip(size, image_size, strict=True)]
    repeated = mask.repeat(fine[0] // image_size[0], 0).repeat(fine[1] // image_size[1], 1)
    blocks = repeated.reshape(size[0], fine[0] // size[0], size[1], fine[1] // size[1])
    assert np.array_equal(found, blocks.any(axis=(1, 3)))


@pytest.mark.parametrize("point", [(-1, 3), (3, 9.5), (math.nan, 3), (8, 0), (math.inf, 0)])
def test_a_mark_outside_of_the_image_is_refused_by_its_place(point):
    inside = Click(plane=0, point=(7.4, 9.4))
    for mark in (Click(plane=0, point=point), Stroke(plane=0, points=((0, 0), point))):
        with pytest.raises(ValueError, match=r"mark 1: .*outside of the image, which is 8x10"):
            draw_marks([inside, mark], (4, 4), (8, 10), 1)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Click(plane=0, point=(0, 0), radius=-1), "radius is -1"),
        (lambda: Click(plane=0, point=(0, 0), radius=math.nan), "radius is nan"),
        (lambda: Click(plane=-1, point=(0, 0)), "plane -1"),
        (lambda: Stroke(plane=0, points=()), "no points"),
    ],
)
def test_a_mark_that_cannot_be_is_refused(make, problem):
    with pytest.raises(ValueError, match=problem):
        make()


def test_marks_that_do_not_fit_the_planes_are_refused():
    def draw(mark, planes=2, **rest):
        draw_marks([mark], (4, 4), (4, 4), planes, **rest)

    with pytest.raises(ValueError, match="mark 0: it speaks of plane 2, but there are 2"):
        draw(Click(plane=2, point=(0, 0)))
    with pytest.raises(ValueError, match="not which of the classes"):
        draw(Click(plane=None, add=False, point=(0, 0)))
    with pytest.raises(ValueError, match="painted mark is 3x3, but its image is 4x4"):
        draw(Area(plane=0, mask=np.ones((3, 3), bool)))


# What is said


def at(drawn, row=0, column=0):
    return drawn.hints[:, row, column].tolist()


def say(*marks, planes=3, **rest):
    """The hints of one pixel, on which all marks lie: (plane, add) or (plane, add, exact)."""
    clicks = [
        Click(plane=plane, add=add, exact=(*exact, True)[0], point=(0, 0), radius=1)
        for plane, add, *exact in marks
    ]
    return draw_marks(clicks, (2, 2), (2, 2), planes, **rest)


@pytest.mark.parametrize(
    ("exclusive", "mark", "hints"),
    [
        (False, (1, True), [0, 1, 0]),
        (False, (1, False), [0, -1, 0]),
        (False, (None, True), [-1, -1, -1]),
        (True, (1, True), [-1, 1, -1]),
        (True, (1, False), [0, -1, 0]),
        (True, (None, True), [1, -1, -1]),
        (True, (None, False), [-1, 0, 0]),
        (True, (0, True), [1, -1, -1]),
    ],
)
def test_what_a_mark_says_of_each_plane(exclusive, mark, hints):
    assert at(say(mark, exclusive=exclusive)) == hints


def test_of_one_class_not_background_is_the_class():
    assert at(say((None, False), planes=1)) == [1]
    assert at(say((None, True), planes=1)) == [-1]


def test_the_later_mark_wins_where_it_contradicts_and_only_there():
    first = Click(plane=0, point=(2, 2), radius=2)
    second = Click(plane=0, add=False, point=(2, 5), radius=2)
    drawn = draw_marks([first, second], (5, 8), (5, 8), 1)
    ours, theirs = (touched(mark, (5, 8), (5, 8)) for mark in (first, second))
    assert torch.equal(drawn.hints[0] == -1, theirs)
    assert torch.equal(drawn.hints[0] == 1, ours & ~theirs)
    assert torch.equal(drawn.contradicted, ours & theirs) and drawn.contradicted.any()
    assert torch.equal(drawn.author[0] == 0, ours & ~theirs)
    assert torch.equal(drawn.author[0] == 1, theirs)
    assert drawn.overruled == ((0, 1),)
    again = draw_marks([second, first], (5, 8), (5, 8), 1)
    assert torch.equal(again.hints[0] == 1, ours)


def test_marks_that_agree_contradict_nothing():
    drawn = say((0, True), (1, False), (0, True))
    assert at(drawn) == [1, -1, 0] and drawn.author[:, 0, 0].tolist() == [2, 1, NOBODY]
    assert not drawn.contradicted.any() and drawn.overruled == ()


def test_a_rough_mark_is_a_hint_and_no_evidence():
    assert say((0, True, False)).exact.any().item() is False
    # said again roughly, what is certain stays so; said otherwise, it does not
    assert say((0, True), (0, True, False)).exact[0, 0, 0]
    assert not say((0, True), (0, False, False)).exact[0, 0, 0]
    assert say((0, False, False), (0, True)).exact[:, 0, 0].tolist() == [True, False, False]


def test_the_last_exclusive_class_that_is_left_is_the_one():
    assert at(say((0, False), (2, False), exclusive=True)) == [-1, 1, -1]
    drawn = say((0, False), (2, False, False), exclusive=True)
    assert drawn.exact[:, 0, 0].tolist() == [True, False, False]


STATEMENTS = st.lists(
    st.tuples(st.sampled_from([None, 0, 1, 2, 3]), st.booleans(), st.booleans()), max_size=8
)


@given(statements=STATEMENTS, planes=st.integers(2, 4))
def test_exclusive_classes_never_contradict_themselves(statements, planes):
    statements = [each for each in statements if each[0] is None or each[0] < planes]
    drawn = say(*statements, planes=planes, exclusive=True)
    hints = at(drawn)
    assert hints.count(1) <= 1 and hints.count(-1) < planes
    if 1 in hints:
        assert hints.count(-1) == planes - 1
    assert planes - hints.count(-1) > 1 or 1 in hints
    assert not (drawn.exact & (drawn.hints == 0)).any()
    if statements:  # the last mark is obeyed
        plane, add, exact = statements[-1]
        assert hints[plane or 0] == (1 if add else -1)
        assert drawn.exact[plane or 0, 0, 0] or not exact
    assert torch.equal(drawn.y0 > 0, drawn.hints > 0)


@given(statements=STATEMENTS)
def test_planes_that_are_not_exclusive_each_obey_their_latest_mark(statements):
    statements = [each for each in statements if each[0] != 3 and each[:2] != (None, False)]
    hints, latest = at(say(*statements)), [0, 0, 0]
    for plane, add, _ in statements:
        for number in range(3) if plane is None else [plane]:
            latest[number] = -1 if plane is None or not add else 1
    assert hints == latest


def test_no_marks_say_nothing():
    drawn = draw_marks([], (4, 5), (8, 10), 2)
    assert drawn.hints.shape == (2, 4, 5) and not drawn.hints.any() and not drawn.exact.any()
    assert (drawn.author == NOBODY).all()
