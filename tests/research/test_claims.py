"""Verdicts follow from the rows: made-up patients whose gains are known."""

from pathlib import Path

import numpy as np
import pytest

from hidiff.suites import Results
from research.pages.claims import (
    DOES_NOT,
    HOLDS,
    NOT_SHOWN,
    band_gap,
    judge_claims,
    judge_interval,
)
from research.pages.compare import find_pairs, unpaired_gap
from research.pages.tables import not_compared
from tests.research.made_up import HERE, add


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "made_up")


def test_gains_that_are_there_hold(results):
    away = {"evaluation": "other eyes", "look": {"data": {"path": "x"}}}
    add(results, "stage1", 0.0)
    add(results, "segmentor_only", 0.0)
    add(results, "hybrid", 0.02, small=0.05, seconds_per_case=1.5)
    add(results, "segmentor_only", 0.0, **away)
    add(results, "hybrid", 0.1, **away)
    claims = judge_claims([results])
    assert [claim.verdict for claim in claims] == [HOLDS] * 4
    result = claims[0].results[0]
    assert result.number.startswith("Dice +0.02") and result.n == "20 patients"
    assert claims[0].count == "1 of 1"


def test_a_packed_model_is_cheap_by_itself(results):
    add(results, "stage1", 0.0)
    add(results, "hybrid", 0.0, seconds_per_case=3.0)
    packed = {"evaluation": "packed", "look": {"packed": True}}
    add(results, "stage1", 0.0, **packed)
    add(results, "hybrid", 0.0, seconds_per_case=1.2, **packed)
    found = judge_claims([results])[3].results
    assert [result.verdict for result in found] == [DOES_NOT, HOLDS]
    assert found[1].part == "packed" and found[1].number.startswith("1.2 times")


def test_every_arm_that_refines_is_judged(results):
    add(results, "stage1", 0.0)
    add(results, "segmentor_only", 0.0)
    add(results, "hybrid", -0.1)
    add(results, "finer", 0.1)
    found = judge_claims([results])[0].results
    assert [result.verdict for result in found] == [DOES_NOT, HOLDS]
    assert (found[1].data, found[1].arm, found[1].seeds) == ("eyes", "finer", 1)


@pytest.mark.parametrize(("number", "verdict"), [(20, HOLDS), (5, NOT_SHOWN)])
def test_bands_that_no_case_shares_are_compared_unpaired(number, verdict):
    """Gains of 0.1 on the small, 0.05 on the large, each of patients of its own."""
    small, large = (
        {(f"{band}{n}", f"{band}{n}"): gain + n / 1e4 for n in range(number)}
        for band, gain in (("small", 0.1), ("large", 0.05))
    )
    gap = band_gap(large, small, "object_dice")
    assert gap and gap.mean == pytest.approx(0.05) and gap.n == number
    assert judge_interval(gap) == verdict
    assert band_gap(large, {}, "object_dice") is None


def test_gains_that_are_not_there_do_not_hold(results):
    away = {"evaluation": "other eyes", "look": {"data": {"path": "x"}}}
    add(results, "stage1", 0.0)
    add(results, "segmentor_only", 0.05)
    add(results, "hybrid", 0.0, small=-0.05, seconds_per_case=9.0)
    add(results, "segmentor_only", 0.1, **away)
    add(results, "hybrid", 0.0, **away)
    assert [claim.verdict for claim in judge_claims([results])] == [DOES_NOT] * 4


@pytest.mark.parametrize(("patients", "verdict"), [(5, NOT_SHOWN), (6, HOLDS)])
def test_of_five_patients_nothing_is_shown(results, patients, verdict):
    away = {"evaluation": "other eyes", "look": {"data": {"path": "x"}}}
    for evaluation in ({}, away):
        add(results, "segmentor_only", 0.0, patients, **evaluation)
        add(results, "hybrid", 0.1 if evaluation else 0.05, patients, small=0.1, **evaluation)
    assert [claim.verdict for claim in judge_claims([results])[:3]] == [verdict] * 3


def test_without_rows_nothing_is_shown(results):
    add(results, "hybrid", 0.0)
    assert [claim.verdict for claim in judge_claims([results])] == [NOT_SHOWN] * 4


def test_two_kinds_of_hardware_are_never_compared(results):
    add(results, "segmentor_only", 0.0)
    add(results, "hybrid", 0.1, hardware={**HERE, "threads": 2})
    assert find_pairs(results, "segmentor_only", "hybrid") == []
    add(results, "another", 0.1, hardware={**HERE, "threads": 2})
    lines = not_compared(results)
    assert len(lines) == 2
    for line, arm in zip(lines, ("hybrid", "another"), strict=True):
        assert "not compared" in line and f"{arm} on" in line and "2 threads" in line


def test_other_cases_are_never_compared(results):
    add(results, "segmentor_only", 0.0)
    add(results, "hybrid", 0.1, judged_sha256="other")
    assert find_pairs(results, "segmentor_only", "hybrid") == []


def test_only_seeds_that_both_arms_have_are_paired(results):
    for seed in (0, 1):
        add(results, "segmentor_only", 0.0, seed=seed)
    add(results, "hybrid", 0.1, seed=1)
    [pair] = find_pairs(results, "segmentor_only", "hybrid")
    assert pair.seeds == (1,)


def test_the_last_row_of_a_run_counts(results):
    add(results, "hybrid", 0.0)
    add(results, "hybrid", 0.1, judged_sha256="newer")
    assert [row["judged_sha256"] for row in results.latest()] == ["newer"]


def test_an_unpaired_gap_has_the_spread_of_both_sides():
    """The variance of a difference is the sum of the variances: 1.96 deviations either way."""
    draws = np.random.default_rng(0)
    less, more = (
        {(str(n), str(n)): x for n, x in enumerate(draws.normal(m, 1, 400))} for m in (0, 1)
    )
    gap = unpaired_gap(less, more)
    means = [np.mean(list(each.values())) for each in (less, more)]
    assert gap.mean == pytest.approx(means[1] - means[0])
    assert gap.high - gap.low == pytest.approx(2 * 1.96 * np.sqrt(2 / 400), rel=0.1)


def test_of_one_data_set_a_patient_of_both_sides_is_drawn_once():
    """Half of the patients are in both sets, and gain .5 more there, each of them: what they add to
    the spread is nothing. Of two data sets patients of one name are two."""
    draws = np.random.default_rng(0)
    values = draws.normal(0, 1, 400)
    less = {(f"{n} less", str(n)): x for n, x in enumerate(values)}
    all_shared = {(f"{n} more", str(n)): x + 0.5 for n, x in enumerate(values)}
    gap = unpaired_gap(less, all_shared, one_data_set=True)
    assert (gap.low, gap.mean, gap.high) == pytest.approx((0.5, 0.5, 0.5))
    two_sets = unpaired_gap(less, all_shared)
    spread = 2 * 1.96 * np.std(values) / np.sqrt(400)
    assert two_sets.high - two_sets.low == pytest.approx(np.sqrt(2) * spread, rel=0.1)
    half = {(f"{n} more", str(n if n < 200 else n + 400)): x + 0.5 for n, x in enumerate(values)}
    gap = unpaired_gap(less, half, one_data_set=True)
    assert gap.high - gap.low == pytest.approx(spread, rel=0.1)
    assert gap.n == 400
