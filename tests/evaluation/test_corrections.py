"""Correcting masks click by click: marks obeyed, errors mended, harm counted."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hidiff import experiment
from hidiff.datasets import SYNTHETIC_LABELS
from hidiff.evaluation import correct_cases
from hidiff.evaluation.corrections import Painting, Refining, clicker, correct, overlap, paint
from hidiff.marks import Click, draw_marks
from hidiff.metrics import case_metrics
from tests.hybrid.test_model import KINDS
from tests.tiny import make_tiny, shake

SIZE = 48
EVERYWHERE = np.ones((SIZE, SIZE), dtype=bool)


def random_bits(kind, seed):
    draws = torch.Generator().manual_seed(seed)
    small = torch.randn(1, KINDS[kind], 6, 6, generator=draws)
    logits = torch.nn.functional.interpolate(small, size=(SIZE, SIZE), mode="bilinear")
    return SYNTHETIC_LABELS[kind].bits(logits[0].numpy())


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 1000))
@settings(max_examples=5, deadline=None)
def test_painted_clicks_mend_errors_and_harm_nothing(kind, seed):
    labels, y0 = SYNTHETIC_LABELS[kind], random_bits(kind, seed)
    start = random_bits(kind, seed + 5000)
    steps = list(correct(Painting(start, labels), y0, EVERYWHERE, 6, clicker(labels)))
    wrong = [int((step.bits != y0).sum()) for step in steps]
    assert wrong == sorted(wrong, reverse=True) and wrong[-1] < wrong[0]
    assert len(set(wrong)) == len(steps) == 7
    assert all(step.collateral == 0 and step.area > 0 for step in steps[1:])
    if kind == "exclusive":
        assert (steps[-1].bits.sum(axis=0) == 1).all()


def test_correcting_ends_when_nothing_is_wrong_and_leaves_out_what_does_not_count():
    labels, y0 = SYNTHETIC_LABELS["one_class"], np.zeros((1, SIZE, SIZE), dtype=bool)
    start, left = y0.copy(), EVERYWHERE.copy()
    start[0, 20:23, 30:33] = True
    left[:, 25:] = False
    assert len(list(correct(Painting(start, labels), y0, left, 5, clicker(labels)))) == 1
    steps = list(correct(Painting(start, labels), y0, EVERYWHERE, 50, clicker(labels)))
    assert 1 < len(steps) < 11 and not steps[-1].bits.any()


def test_pixels_that_a_mark_turns_wrong_are_counted_outside_of_it():
    y0 = np.zeros((1, SIZE, SIZE), dtype=bool)
    y0[0, 10:20, 10:20] = True

    def answer(marks):
        bits = np.zeros_like(y0)
        if marks:
            bits[0, 30:33, 30:34] = True  # twelve pixels of harm, far from the mark
        return paint(bits, marks, SYNTHETIC_LABELS["one_class"])

    person = clicker(SYNTHETIC_LABELS["one_class"])
    _, first, second = correct(answer, y0, EVERYWHERE, 2, person)
    assert first.collateral == 12 and second.collateral == 0
    assert first.area == first.bits[0, 10:20, 10:20].sum()


def test_overlap_is_that_of_the_metrics():
    for seed in range(5):
        bits, y0 = random_bits("one_class", seed)[0], random_bits("one_class", seed + 50)[0]
        inside = random_bits("one_class", seed + 90)[0]
        theirs = case_metrics(bits, y0, inside=inside)
        assert overlap(bits, y0, inside) == pytest.approx((theirs["dice"], theirs["iou"]))
    nothing = np.zeros_like(y0)
    assert overlap(nothing, nothing, EVERYWHERE) == (1.0, 1.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hints", [True, False], ids=["hint planes", "none"])
def test_a_refiner_obeys_marks_on_images_of_any_size(tmp_path, kind, hints):
    hybrid = shake(experiment.make_hybrid(make_tiny(tmp_path, kind, refiner={"hints": hints})))
    image = torch.rand(3, 50, 75, generator=torch.Generator().manual_seed(1)) * 2 - 1
    refining, exclusive = Refining(hybrid.eval(), image), kind == "exclusive"
    assert refining([]).shape == refining.prior.shape == (KINDS[kind], 50, 75)
    marks = [
        Click(plane=0, point=(49, 74), radius=3),
        Click(plane=KINDS[kind] - 1, point=(10, 20), radius=6, add=False),
    ]
    drawn = draw_marks(marks, (50, 75), (50, 75), KINDS[kind], exclusive=exclusive)
    known = drawn.exact.numpy()
    assert known.any()
    assert np.array_equal(refining(marks)[known], (drawn.hints.numpy() > 0)[known])


def test_samples_differ_by_their_seed_and_steps_are_taken(tmp_path):
    hybrid = shake(experiment.make_hybrid(make_tiny(tmp_path, "one_class"))).eval()
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    one, two = Refining(hybrid, image).samples(2)
    assert not np.array_equal(one, two)
    assert np.array_equal(one, Refining(hybrid, image).samples(1)[0])
    assert not np.array_equal(one, Refining(hybrid, image).samples(1, seed=1)[0])
    steps = hybrid.schedule.num_steps
    assert not np.array_equal(
        Refining(hybrid, image, steps).probability([]), Refining(hybrid, image).probability([])
    )


def test_every_case_class_and_number_of_clicks_has_a_row(tmp_path):
    recipe = make_tiny(tmp_path, "regions", refiner={"hints": True})
    hybrid = experiment.make_hybrid(recipe)
    cases = experiment.list_cases(recipe, "validation")
    rows = correct_cases(experiment.make_predictor(hybrid, recipe), cases, (0, 2, 40))
    names = recipe.labels.class_names
    assert len(rows) == len(cases) * len(names) * 3
    for name in names:
        dice = [row["dice"] for row in rows if row["class"] == name]
        assert dice[0] < dice[2]
    assert [row["band"] for row in rows[:: len(names)]][:3] == ["0 clicks", "2 clicks", "40 clicks"]
    assert {row["source"] for row in rows} == {"refined"}
    # an untrained refiner answers with its prior, on which marks are painted
    plain = experiment.make_predictor(hybrid, recipe, refines=False)
    painted = correct_cases(plain, cases, (0, 2, 40))
    assert [row["dice"] for row in painted] == [row["dice"] for row in rows]
    assert {row["source"] for row in painted} == {"prior"}
