"""Rows of prior and refined masks: complete, and inside the field of view."""

import numpy as np
import pytest
from PIL import Image

from hidiff.datasets import Case
from hidiff.evaluation import evaluate, judge, read_truth
from hidiff.experiment import list_cases, make_hybrid, make_predictor
from hidiff.images import DataError
from hidiff.metrics import CALIBRATION, METRICS, summarise
from tests.tiny import make_tiny, shake

KINDS = {"one_class": ["curve"], "exclusive": ["curve", "disc"], "regions": ["curve", "disc"]}


def make(folder, kind="one_class"):
    recipe = make_tiny(folder, kind)
    return make_predictor(shake(make_hybrid(recipe)), recipe), list_cases(recipe, "train")


def dice(left, right):
    total = left.sum() + right.sum()
    return 2 * (left & right).sum() / total if total else 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_every_case_class_and_source_has_a_row_with_every_metric(tmp_path, kind):
    predictor, cases = make(tmp_path, kind)
    rows = evaluate(predictor, cases[:2], steps=1)
    keys = [(row["case"], row["source"], row["class"]) for row in rows]
    wanted = [
        (case.name, source, name)
        for case in cases[:2]
        for source in ("prior", "refined")
        for name in KINDS[kind]
    ]
    assert sorted(keys) == sorted(wanted)
    columns = {"case", "group", "class", "source", "per", "unit", *METRICS, *CALIBRATION}
    assert all(set(row) == columns for row in rows)
    assert {row["group"] for row in rows} == {case.group for case in cases[:2]}
    assert summarise(rows).entry("mean", "dice").difference is not None


def test_each_case_is_told_of_as_it_ends(tmp_path):
    predictor, cases = make(tmp_path)
    told = []
    rows = evaluate(
        predictor,
        cases[:2],
        steps=1,
        seed=4,
        done=lambda case, p, _, found: told.append((case, p, found)),
    )
    assert [case for case, _, _ in told] == list(cases[:2])
    assert [row for _, _, found in told for row in found] == rows
    for case, prediction, _ in told:
        # what is judged is what anyone would have been given
        again = predictor.predict(case.image, name=case.name, steps=1, seed=4)
        assert np.array_equal(again.labels, prediction.labels)


def test_without_refining_only_the_prior_is_judged(tmp_path):
    predictor, cases = make(tmp_path)
    with_it = evaluate(predictor, cases[:2], steps=1)
    rows = evaluate(predictor, cases[:2], refine=False)
    assert rows == [row for row in with_it if row["source"] == "prior"]


def test_outside_the_field_of_view_nothing_counts(tmp_path):
    predictor, cases = make(tmp_path)
    case = cases[0]
    seen = np.zeros((64, 64), np.uint8)
    seen[10:50, 20:] = 255
    Image.fromarray(seen).save(tmp_path / "seen.png")
    half = Case(case.name, case.image, case.mask, tmp_path / "seen.png", case.group)
    prediction = predictor.predict(case.image, name=case.name, steps=1)
    mask = np.asarray(Image.open(case.mask)) > 0
    for where, inside in ((case, np.ones((64, 64), bool)), (half, seen > 0)):
        truth = read_truth(where, predictor)
        assert np.array_equal(truth.inside, inside)
        assert np.array_equal(truth.labels, mask)
        rows = {r["source"]: r for r in judge(prediction, truth, where, predictor, 1.0)}
        for source, found in (("prior", prediction.prior_labels), ("refined", prediction.labels)):
            wanted = dice((found > 0) & inside, mask & inside)
            assert rows[source]["dice"] == pytest.approx(wanted)
    # evaluate() looks at it the same way
    assert evaluate(predictor, [half], steps=1) == judge(
        prediction, read_truth(half, predictor), half, predictor, 1.0
    )


def test_the_tolerance_of_surface_dice_is_in_pixels(tmp_path):
    predictor, cases = make(tmp_path)
    found = [
        evaluate(predictor, cases[:1], refine=False, tolerance=tolerance)[0]["surface_dice"]
        for tolerance in (0.0, 1.0, 100.0)
    ]
    assert found[0] < found[1] < found[2] == 1.0


def test_a_case_without_a_mask_or_of_another_size_is_refused_by_name(tmp_path):
    predictor, cases = make(tmp_path)
    case = cases[0]
    with pytest.raises(DataError, match=f"case {case.name} has no mask"):
        evaluate(predictor, [Case(case.name, case.image, None, None, case.group)])
    Image.fromarray(np.zeros((64, 65), np.uint8)).save(tmp_path / "wide.png")
    with pytest.raises(DataError, match=r"wide\.png is 64x65"):
        evaluate(predictor, [Case("a", case.image, tmp_path / "wide.png", None, "a")])
