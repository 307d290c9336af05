import io
import warnings

import numpy as np
import pytest
from PIL import Image

from hidiff.report.pictures import (
    DARK,
    DIFFERENCES,
    MOST_STEPS,
    CasePicture,
    case_panels,
    case_png,
    legend_colours,
    paint_change,
    paint_difference,
    paint_labels,
    step_panels,
    steps_png,
    write_png,
)


def make_case(**changes):
    labels = np.array([[0, 1, 1, 0]], np.uint8).repeat(3, axis=0)
    fields = {
        "name": "a_1",
        "image": np.zeros((3, 4, 3), np.uint8),
        "truth": np.roll(labels, 1, axis=1),
        "prior_labels": labels,
        "labels": labels,
        "uncertainty": np.full((3, 4), 0.5, np.float32),
        "score": 0.5,
    }
    return CasePicture(**(fields | changes))


def names_of(picture):
    """The difference that each pixel of the first row shows."""
    colours = {colour: name for name, colour in DIFFERENCES.items()} | {DARK: "nothing"}
    return [colours[tuple(map(int, pixel))] for pixel in picture[0]]


def test_a_difference_map_names_every_kind_of_pixel():
    truth = np.array([[0, 0, 1, 1, 2, 2]], np.uint8)
    labels = np.array([[0, 1, 0, 1, 1, 2]], np.uint8)
    assert names_of(paint_difference(labels, truth)) == [
        *("nothing", "too much", "missed", "found", "wrong class", "found")
    ]


def test_regions_differ_as_their_planes_do():
    truth = np.array([[[0, 1, 1, 1, 1]], [[0, 0, 1, 0, 1]]], np.uint8)
    labels = np.array([[[0, 1, 1, 1, 0]], [[1, 0, 0, 1, 1]]], np.uint8)
    assert names_of(paint_difference(labels, truth)) == [
        *("too much", "found", "missed", "too much", "missed")
    ]


def test_a_change_is_mended_or_broken_or_none_at_all():
    truth = np.array([[0, 1, 1, 0, 2]], np.uint8)
    prior_labels = np.array([[1, 1, 0, 0, 1]], np.uint8)
    labels = np.array([[0, 0, 0, 0, 2]], np.uint8)
    picture = paint_change(prior_labels, labels, truth)
    picture[0, 2] = DARK  # missed before and after: the truth alone
    assert names_of(picture) == ["mended", "broken", "nothing", "nothing", "mended"]


def test_outside_the_field_of_view_nothing_is_right_or_wrong():
    truth = np.array([[0, 1, 1]], np.uint8)
    inside = np.array([[False, False, True]])
    picture = paint_difference(1 - truth, truth, inside)
    assert names_of(picture) == ["not counted", "not counted", "missed"]


def test_classes_have_colours_of_their_own_and_one_class_is_light():
    labels = np.arange(11, dtype=np.uint8)[None]
    colours = {tuple(map(int, pixel)) for pixel in paint_labels(labels, several=True)[0]}
    assert len(colours) == 11
    one = paint_labels(labels.clip(0, 1), several=False)[0]
    assert one[0].max() < 40 and one[1].min() > 200


def test_the_legend_holds_what_can_occur():
    assert list(legend_colours([make_case()])) == [
        *("found", "too much", "missed", "mended", "broken")
    ]
    several = make_case(labels=np.full((3, 4), 2, np.uint8))
    assert "wrong class" in legend_colours([make_case(), several])
    limited = make_case(inside=np.ones((3, 4), bool))
    assert "not counted" in legend_colours([limited])


def test_every_panel_has_the_size_of_the_image_and_inputs_are_not_modified():
    case = make_case()
    for array in (case.truth, case.labels, case.prior_labels, case.uncertainty, case.image):
        array.flags.writeable = False
    panels = case_panels(case)
    assert list(panels)[:4] == ["Image", "Truth", "Prior", "Refined"]
    assert {panel.shape for panel in panels.values()} == {(3, 4, 3)}
    certain = make_case(uncertainty=np.zeros((2, 3, 4), np.float32))
    assert case_panels(certain)["Uncertainty"].max() < 10


def make_trace(num_steps):
    rng = np.random.default_rng(0)
    shape = 2, 6, 5
    return [
        (t, rng.integers(0, 2, shape).astype(np.float32), rng.random(shape).astype(np.float32))
        for t in range(num_steps, 0, -1)
    ]


def test_every_step_is_shown_as_it_was():
    trace = make_trace(5)
    steps = step_panels(trace, plane=1)
    assert [t for t, _, _ in steps] == [5, 4, 3, 2, 1]
    for (_, yt, y0_hat), (_, yt_picture, y0_hat_picture) in zip(trace, steps, strict=True):
        assert np.array_equal(yt_picture[..., 0], yt[1] * 255)
        assert np.allclose(y0_hat_picture[..., 2] / 255, y0_hat[1], atol=0.5 / 255 + 1e-6)


def test_of_many_steps_the_first_and_the_last_are_among_the_shown():
    shown = [t for t, _, _ in step_panels(make_trace(100))]
    assert (len(shown), shown[0], shown[-1]) == (MOST_STEPS, 100, 1)


def test_figures_are_pngs_and_say_so_where_there_is_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = case_png(make_case(prior_score=0.25)), steps_png(make_trace(3))
    for content in figures:
        with Image.open(io.BytesIO(content)) as image:
            assert image.format == "PNG" and min(image.size) > 100
    write_png(figures[0], tmp_path / "new" / "case.png")
    assert (tmp_path / "new" / "case.png").read_bytes() == figures[0]
    with pytest.raises(ValueError, match="Predict with the trace kept"):
        steps_png([])
