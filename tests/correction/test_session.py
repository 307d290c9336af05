"""Marks are obeyed, nothing else changes, and every step of a session goes back."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hidiff.correction import CorrectionSettings, recompute
from hidiff.experiment import make_hybrid, make_predictor
from tests.correction.models import (
    KINDS,
    NEAR,
    REACH,
    SIZE,
    make_image,
    make_kind,
    make_packed,
    make_volume,
    read_maps,
    same,
    start,
)
from tests.tiny import make_tiny, shake

pytestmark = pytest.mark.filterwarnings("ignore:this m")  # contradicting marks, unread hints


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def predictors(folder):
    return {kind: make_kind(folder, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def begun(predictors):
    """A session a kind, to be undone: it is predicted once."""
    return {kind: start(predictors[kind]) for kind in KINDS}


def rewind(session):
    """Take everything back, which other tests show to be exact."""
    while session.undo():
        pass
    return session


def says(session, label, add=True):
    """Return the pixels whose labels are what a mark said."""
    labels, names = session.labels, session.label_names[:-1]
    if label == "background":
        is_class = (labels if labels.ndim == 2 else labels.any(axis=0)) == 0
    elif labels.ndim == 3:
        is_class = labels[names.index(label)] == 1
    else:
        is_class = labels == names.index(label) + 1
    return is_class == add


def disk(point, radius, size=SIZE):
    rows, columns = np.ogrid[: size[0], : size[1]]
    return (rows - point[0]) ** 2 + (columns - point[1]) ** 2 <= radius**2


def marks_of(names):
    """Clicks and strokes with labels of a model of several classes."""
    points = st.tuples(st.integers(0, SIZE[0] - 1), st.integers(0, SIZE[1] - 1))
    return st.fixed_dictionaries(
        {
            "points": st.lists(points, min_size=1, max_size=2),
            "label": st.sampled_from(names),
            "radius": st.sampled_from([0, 1, 3.5, 9]),
            "add": st.booleans(),
        }
    ).filter(lambda mark: mark["add"] or mark["label"] != "background")


def make_mark(session, mark, **more):
    if len(mark["points"]) == 1 and not more:
        point = mark["points"][0]
        return session.click(point, mark["label"], add=mark["add"], radius=mark["radius"])
    return session.stroke(
        mark["points"], mark["label"], add=mark["add"], radius=mark["radius"], **more
    )


# Without marks


PREDICTIONS = {
    "several windows": (SIZE, {}),
    "smaller than a window": ((40, 50), {}),
    "several samples, mirrored": ((60, 64), {"samples": 2, "steps": 2, "mirror": True}),
    "lit view": (SIZE, {"lit_view": True}),
    "expected dice": (SIZE, {"rule": "expected_dice"}),
}


@pytest.mark.parametrize(
    ("case", "kind"),
    [*product(["several windows"], KINDS), *product(PREDICTIONS, ["one_class"])][1:],
)
def test_without_marks_a_session_is_bit_equal_to_predict(predictors, kind, case):
    size, changes = PREDICTIONS[case]
    image = make_image(size)
    predicted = predictors[kind].predict(image, **changes)
    session = start(predictors[kind], image, **changes)
    assert all(
        np.array_equal(values, getattr(predicted, name))
        for name, values in read_maps(session).items()
    )


@pytest.mark.parametrize("kind", ["exclusive"])
def test_without_marks_a_volume_is_bit_equal_to_predict(predictors, kind):
    volume, options = make_volume(3), {"spacing_mm": (3, 1, 1), "windows": 2, "name": "scan"}
    predicted = predictors[kind].predict(volume, keep_probability=True, **options)
    session = start(predictors[kind], volume, **options)
    session.slice_maps(2)  # on demand, and not in the order of predict
    assert all(
        np.array_equal(values, getattr(predicted, name))
        for name, values in read_maps(session).items()
    )


def test_a_resized_image_without_marks_is_bit_equal_to_predict(folder):
    predictor = make_kind(folder, data={"size": [64, 96]})
    predicted, session = predictor.predict(make_image()), start(predictor)
    assert np.array_equal(session.probability, predicted.probability)
    point = (30, 40)
    session.click(point, "curve", radius=6)
    assert says(session, "curve")[disk(point, 6)].all()
    assert (session.probability[0][disk(point, 6)] == 1).all()


# Marks


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4)
@given(data=st.data())
def test_marked_pixels_obey_the_latest_mark(begun, kind, data):
    session = rewind(begun[kind])
    for mark in data.draw(st.lists(marks_of(session.label_names), min_size=1, max_size=3)):
        make_mark(session, mark)
        for point in mark["points"]:
            obeyed = says(session, mark["label"], mark["add"])
            assert obeyed[disk(point, mark["radius"])].all()
    probability = session.probability
    assert np.isfinite(probability).all() and 0 <= probability.min() <= probability.max() <= 1
    if kind == "exclusive":
        np.testing.assert_allclose(probability.sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("case", PREDICTIONS)
def test_marks_are_obeyed_in_every_kind_of_prediction(predictors, case):
    size, changes = PREDICTIONS[case]
    session = start(predictors["one_class"], make_image(size), **changes)
    before = read_maps(session)
    for label in ("curve", "background"):
        session.click((6, 20), label, radius=3)
        assert says(session, label)[disk((6, 20), 3, size)].all()
    beyond = (slice(None), slice(6 + 3 + REACH + 1, None))
    assert np.array_equal(before["probability"][beyond], session.probability[beyond])


def test_with_a_reach_of_0_only_touched_pixels_change(predictors):
    session = start(predictors["one_class"], settings=CorrectionSettings(reach_px=0))
    before = session.probability
    session.click((30, 50), "curve", radius=3)
    changed = (session.probability != before)[0]
    assert changed.any() and not (changed & ~disk((30, 50), 4)).any()


@pytest.mark.parametrize("rule", ["half", "expected_dice"])
@pytest.mark.parametrize("kind", KINDS)
def test_painted_pixels_obey_whatever_the_rule(predictors, kind, rule):
    session = start(predictors[kind], rule=rule)
    mask = np.zeros(SIZE, dtype=bool)
    mask[5:20, 30:90:2] = True
    planes = predictors[kind].labels.plane_names
    for label in session.label_names:
        session.stroke(mask, label)
        assert says(session, label)[mask].all()
        probability = session.probability[:, mask]
        certain = probability[planes.index(label)] if label in planes else 1 - probability
        assert (certain == 1).all()
    session.stroke(mask, session.label_names[0], add=False)
    assert says(session, session.label_names[0], add=False)[mask].all()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4)
@given(data=st.data())
def test_nothing_changes_beyond_the_reach(begun, kind, data):
    session = rewind(begun[kind])
    mark = data.draw(marks_of(session.label_names))
    before = read_maps(session)
    change = make_mark(session, mark)
    rows, columns = np.array(mark["points"]).T
    far = REACH + mark["radius"] + 1
    beyond = np.ones(SIZE, dtype=bool)
    beyond[
        max(int(rows.min() - far), 0) : int(rows.max() + far) + 1,
        max(int(columns.min() - far), 0) : int(columns.max() + far) + 1,
    ] = False
    after = read_maps(session)
    for name in before:
        assert np.array_equal(before[name][..., beyond], after[name][..., beyond])
    differs = (before["labels"] != after["labels"]).reshape(-1, *SIZE).any(axis=0)
    reported = np.zeros(SIZE, dtype=bool)
    reported[change.box] = change.mask
    assert np.array_equal(differs, reported)


def test_the_model_reads_hints_around_a_mark(predictors):
    session = start(predictors["one_class"])
    change = session.click((30, 50), "curve", radius=3)
    reported = np.zeros(SIZE, dtype=bool)
    reported[change.box] = change.mask
    assert reported[~disk((30, 50), 5)].any()


def test_exactly_the_windows_that_meet_the_reach_are_refined_again(predictors, monkeypatch):
    predictor = predictors["one_class"]
    session = start(predictor, make_image((100, 200)))
    _ = session.labels
    looks, refined = [], []
    refine = predictor.hybrid.refine
    monkeypatch.setattr(predictor.hybrid, "look", lambda *args: looks.append(1))
    monkeypatch.setattr(
        predictor.hybrid, "refine", lambda *args: (refined.append(len(args[0])), refine(*args))[1]
    )
    # windows of 64x64 begin at rows 0 and 36, and at columns 0, 48, 96 and 136
    session.click((10, 20), "curve", radius=1)
    assert sum(refined) == 1 and not looks
    session.click((10, 40), "curve", radius=1)
    assert sum(refined) == 1 + 2
    session.click((50, 115), "curve", radius=1)
    assert sum(refined) == 1 + 2 + 2 * 2 and not looks


def test_what_was_seen_of_windows_takes_bounded_memory(predictors):
    short = NEAR.model_copy(update={"cache_mb": 0})
    session, other = (start(predictors["one_class"], settings=each) for each in (short, NEAR))
    for each in (session, other):
        each.click((30, 50), "curve")
    assert len(session._maps.keep._kept) == 1 < len(other._maps.keep._kept)
    np.testing.assert_allclose(session.probability, other.probability, atol=1e-5)


def test_a_later_mark_wins_with_a_warning(predictors):
    session = start(predictors["one_class"])
    session.click((30, 50), "curve", radius=6)
    with pytest.warns(UserWarning, match="contradicts 1 earlier one: .*the later one counts"):
        session.click((32, 50), "background", radius=3)
    assert says(session, "background")[disk((32, 50), 3)].all()
    assert says(session, "curve")[disk((30, 50), 6) & ~disk((32, 50), 5)].all()


def test_a_rough_stroke_is_a_hint_alone(predictors):
    session = start(predictors["one_class"])
    before = session.labels
    mask = np.zeros(SIZE, dtype=bool)
    mask[20:50, 30:70] = True
    session.stroke(mask, "curve", exact=False)
    assert (session.labels != before).any()
    assert not says(session, "curve")[mask].all()
    assert set(np.unique(session.probability)) != {0.0, 1.0}


# Locks


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=3)
@given(data=st.data())
def test_locked_pixels_never_change(begun, kind, data):
    session = rewind(begun[kind])
    mask = np.zeros(SIZE, dtype=bool)
    mask[20:40, 40:60] = True
    before = read_maps(session)
    session.lock(mask)
    for mark in data.draw(st.lists(marks_of(session.label_names), min_size=1, max_size=2)):
        make_mark(session, mark)
    session.candidates(4)
    session.choose(len(session.candidates(4)) - 1)
    after = read_maps(session)
    assert all(np.array_equal(before[name][..., mask], after[name][..., mask]) for name in before)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=3)
@given(data=st.data())
def test_a_locked_class_gains_and_loses_no_pixel(begun, kind, data):
    session = rewind(begun[kind])
    locked = session.label_names[0]
    before = says(session, locked)
    session.lock(label=locked)
    for mark in data.draw(st.lists(marks_of(session.label_names), min_size=1, max_size=2)):
        make_mark(session, mark)
    session.choose(len(session.candidates(4)) - 1)
    assert np.array_equal(before, says(session, locked))


def test_a_mark_on_locked_pixels_warns_and_works_when_unlocked(predictors):
    session = start(predictors["one_class"])
    _ = session.labels
    session.click((30, 50), "curve", radius=4)
    session.lock(disk((30, 50), 4))
    with pytest.warns(UserWarning, match=r"\d+ marked pixels are locked"):
        session.click((30, 50), "background", radius=2)
    assert says(session, "curve")[disk((30, 50), 4)].all()
    session.unlock()
    session.click((30, 50), "background", radius=2)
    assert says(session, "background")[disk((30, 50), 2)].all()


# Undo and redo


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=3)
@given(data=st.data())
def test_undo_and_redo_restore_bit_for_bit(begun, kind, data):
    session = rewind(begun[kind])
    states, numbers = [read_maps(session)], [0]
    for mark in data.draw(st.lists(marks_of(session.label_names), min_size=1, max_size=4)):
        make_mark(session, mark)
        states.append(read_maps(session))
        numbers.append(len(session.marks))
    place = len(states) - 1
    for back in data.draw(st.lists(st.booleans(), min_size=2, max_size=8)):
        revision = session.revision
        if back:
            assert (session.undo() is None) == (place == 0)
            place = max(place - 1, 0)
        else:
            assert (session.redo() is None) == (place == len(states) - 1)
            place = min(place + 1, len(states) - 1)
        assert same(read_maps(session), states[place])
        assert len(session.marks) == numbers[place]
        assert session.revision >= revision
    assert session.can_undo == (place > 0) and session.can_redo == (place < len(states) - 1)


def test_a_new_mark_forgets_what_was_undone(predictors):
    session = start(predictors["one_class"])
    session.click((30, 50), "curve")
    session.undo()
    session.click((60, 20), "background")
    assert not session.can_redo and [mark["point"] for mark in session.marks] == [[60, 20]]


# Mistakes


MISTAKES = {
    "unknown label": (lambda s: s.click((3, 3), "curv"), "this model has curve, background"),
    "outside": (lambda s: s.click((3, 300), "curve"), "outside of the image, which is 70x100"),
    "before": (lambda s: s.click((-3, 3), "curve"), "outside of the image"),
    "NaN": (lambda s: s.click((3, float("nan")), "curve"), "finite numbers"),
    "three numbers": (lambda s: s.click((0, 3, 3), "curve"), r"\(row, column\) is wanted"),
    "radius": (lambda s: s.click((3, 3), "curve", radius=-1), "radius is -1"),
    "no points": (lambda s: s.stroke([], "curve"), "no points"),
    "empty mask": (lambda s: s.stroke(np.zeros(SIZE, bool), "curve"), "marks no pixel"),
    "other mask": (lambda s: s.stroke(np.ones((9, 9), bool), "curve"), "9x9, but the image is"),
    "NaN in a mask": (lambda s: s.lock(np.full(SIZE, np.nan)), "holds NaN"),
    "two locks": (lambda s: s.lock(np.ones(SIZE, bool), label="curve"), "one of the two"),
    "unknown lock": (lambda s: s.lock(label="liver"), "this model has curve, background"),
    "carry on": (lambda s: s.carry_on(), "one slice only"),
    "early choice": (lambda s: s.choose(0), "call it again"),
    "no candidates": (lambda s: s.candidates(0), "at least 1"),
    "other slice": (lambda s: s.candidates(2, slice=7), "slices 0 to 0"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_told_and_changes_nothing(begun, what):
    session = rewind(begun["one_class"])
    session.click((30, 50), "curve")
    before, revision, marks = read_maps(session), session.revision, session.marks
    mistake, message = MISTAKES[what]
    with pytest.raises(ValueError, match=message):
        mistake(session)
    assert same(read_maps(session), before)
    assert (session.revision, session.marks) == (revision, marks)


def test_a_mark_that_fails_half_way_leaves_the_session_as_it_was(predictors, monkeypatch):
    session = start(predictors["one_class"], make_volume(3), spacing_mm=(3, 1, 1))
    before = read_maps(session)
    mask = np.ones(session.shape, dtype=bool)
    calls, merge = [], recompute._merge

    def fail_at_the_third(*args):
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError("full")
        return merge(*args)

    monkeypatch.setattr(recompute, "_merge", fail_at_the_third)
    with pytest.raises(MemoryError):
        session.stroke(mask, "curve")
    assert same(read_maps(session), before)
    assert session.revision == 0 and not session.marks and not session.can_undo


# Models


def test_a_model_without_hints_obeys_marks_with_one_warning(folder):
    session = start(make_kind(folder, hints=False))
    with pytest.warns(UserWarning, match="trained without hints"):
        session.click((30, 50), "curve")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session.click((10, 20), "curve")
    assert says(session, "curve")[disk((10, 20), 4)].all()


def test_without_a_refiner_only_touched_pixels_change(folder):
    recipe = make_tiny(folder, "exclusive", data={"channels": 1})
    predictor = make_predictor(shake(make_hybrid(recipe)), recipe, refines=False)
    session = start(predictor)
    before = read_maps(session)
    with pytest.warns(UserWarning, match="no trained refiner"):
        session.click((30, 50), "disc", radius=5)
    assert says(session, "disc")[disk((30, 50), 5)].all()
    outside = ~disk((30, 50), 7)
    assert np.array_equal(before["probability"][:, outside], session.probability[:, outside])


def test_a_packed_model_gives_the_same_bits_again(folder):
    predictor = make_packed(folder)
    predicted = predictor.predict(make_image())
    sessions = [start(predictor) for _ in range(2)]
    assert np.array_equal(sessions[0].probability, predicted.probability)
    for session in sessions:
        session.click((30, 50), "curve", radius=5)
        session.stroke([(10, 10), (60, 90)], "background", radius=2)
    assert same(*(read_maps(session) for session in sessions))
    assert says(sessions[0], "background")[disk((10, 10), 2)].all()


def test_several_models_are_corrected_as_their_mean(folder, predictors):
    from hidiff.prediction import Ensemble

    recipe = make_tiny(folder, data={"channels": 1}, refiner={"precision": "real", "hints": True})
    torch.manual_seed(5)
    other = make_predictor(shake(make_hybrid(recipe)), recipe)
    both = Ensemble([predictors["one_class"], other])
    predicted, session = both.predict(make_image()), start(both)
    assert np.array_equal(session.probability, predicted.probability)
    session.click((30, 50), "curve", radius=5)
    alone = [start(each) for each in both.members]
    for each in alone:
        each.click((30, 50), "curve", radius=5)
    mean = np.mean([each.probability for each in alone], axis=0)
    np.testing.assert_allclose(session.probability, mean, atol=1e-4)


def test_threads_wait_for_each_other(predictors):
    session = start(predictors["one_class"])
    points = [(row, column) for row in (10, 40) for column in (10, 40, 70)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda point: session.click(point, "curve", radius=1), points))
    assert session.revision == len(session.marks) == len(points)
    assert all(session.labels[point] == 1 for point in points)
    while session.undo():
        pass
    assert same(read_maps(session), read_maps(start(predictors["one_class"])))
