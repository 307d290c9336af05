"""Wilcoxon's test by hand, by counting every sign; and its p where there is nothing to find."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from hidiff.metrics import signed_rank, summarise
from tests.metrics.test_table import make_rows


def p_by_counting(differences):
    """Return the share of all 2^n choices of signs whose sum of ranks is as far from its middle."""
    ranks = rankdata(np.abs(differences))
    middle = ranks.sum() / 2
    came = abs(ranks[differences > 0].sum() - middle)
    signs = np.array(list(product([0, 1], repeat=len(ranks))))
    return float((np.abs(signs @ ranks - middle) >= came - 1e-9).mean())


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=9, unique=True), st.integers(0, 2**9))
def test_p_is_what_counting_all_signs_gives(sizes, bits):
    signs = np.array([1 if bits >> i & 1 else -1 for i in range(len(sizes))])
    differences = signs * np.array(sizes, dtype=float)
    found = signed_rank(differences)
    assert found.p == pytest.approx(p_by_counting(differences))
    assert found.n == len(sizes)


def test_six_that_all_rise_are_the_fewest_below_5_percent():
    rises = np.arange(1.0, 7.0)
    assert signed_rank(rises[:5]).p == pytest.approx(2 / 2**5)
    assert signed_rank(rises).p == pytest.approx(2 / 2**6)


def test_zeros_are_left_out_and_not_counted():
    differences = np.array([0.0, 0.3, 0.0, -0.1, 0.2])
    assert signed_rank(differences) == signed_rank(differences[differences != 0])
    assert signed_rank(differences).n == 3
    assert (signed_rank(np.zeros(4)).p, signed_rank(np.zeros(4)).n) == (1.0, 0)


def test_p_is_uniform_where_nothing_differs():
    draws = np.random.default_rng(0).standard_normal((400, 20))
    below = np.mean([signed_rank(each).p < 0.05 for each in draws])
    assert 0.02 < below < 0.08


def test_the_test_is_over_groups_and_so_copies_of_an_image_add_nothing():
    once = summarise(make_rows(cases_each=1)).entry("mean", "dice").test
    rows = make_rows(cases_each=1)
    copies = [{**row, "case": f"{row['case']}_copy{i}"} for row in rows for i in range(5)]
    assert summarise(copies).entry("mean", "dice").test == once
    assert once.n == 12


def test_of_one_group_or_one_source_there_is_no_test():
    assert summarise(make_rows(num_groups=1)).entry("mean", "dice").test is None
    prior = [row for row in make_rows() if row["source"] == "prior"]
    assert summarise(prior).entry("mean", "dice").test is None
