"""Seeds are averaged before cases, and cases before groups; two arms are paired case by case."""

import pytest

from hidiff.metrics import average_seeds, pair_arms, summarise
from tests.metrics.test_table import make_rows


def test_a_case_is_its_mean_over_seeds():
    runs = [make_rows(seed=seed) for seed in (1, 2, 3)]
    averaged = average_seeds(runs)
    assert len(averaged) == len(runs[0])
    for number, row in enumerate(averaged):
        assert row["dice"] == pytest.approx(sum(run[number]["dice"] for run in runs) / 3)


def test_one_seed_is_itself_and_more_seeds_make_no_more_groups():
    rows = make_rows()
    assert average_seeds([rows]) == rows
    assert summarise(average_seeds([rows] * 5)).entry("mean", "dice").test.n == 12


def test_seeds_judged_on_other_cases_are_refused():
    with pytest.raises(ValueError, match="run 2 and the first do not hold the same rows: 8 are"):
        average_seeds([make_rows(12), make_rows(11)])
    with pytest.raises(ValueError, match="no runs"):
        average_seeds([])


def test_two_arms_differ_by_their_final_masks():
    hybrid = [make_rows(seed=seed, gain=0.05) for seed in (1, 2)]
    baseline = [[row for row in run if row["source"] == "prior"] for run in hybrid]
    entry = summarise(pair_arms(baseline, hybrid)).entry("mean", "dice")
    assert entry.difference.mean == pytest.approx(0.05, abs=0.01)
    assert entry.test.n == 12 and entry.test.p < 0.001
