"""No group on two sides, whatever the seed, the shares and the lists."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hidiff.datasets import Case, Splitting, fold_of, hold_out, split_by_group
from hidiff.datasets.splits import SPLITS, read_lists
from hidiff.images import DataError


def cases_of(groups):
    return [Case(f"{i}", f"{i}.png", None, None, f"p{group}") for i, group in enumerate(groups)]


GROUPS = st.lists(st.integers(0, 12), min_size=3, max_size=40).filter(lambda g: len(set(g)) >= 3)


@given(GROUPS, st.integers(0, 5))
def test_splits_share_no_group_and_lose_no_case(groups, seed):
    cases = cases_of(groups)
    splits = split_by_group(cases, (0.6, 0.2, 0.2), seed)
    assert Counter(case for split in splits.values() for case in split) == Counter(cases)
    sides = [{case.group for case in splits[split]} for split in SPLITS]
    assert all(sides)
    assert sum(len(side) for side in sides) == len(set.union(*sides))


def test_shares_are_met_and_the_seed_decides():
    cases = cases_of(range(100))
    first = split_by_group(cases, (0.7, 0.1, 0.2), 0)
    assert [len(first[split]) for split in SPLITS] == [70, 10, 20]
    assert first == split_by_group(cases, (0.7, 0.1, 0.2), 0)
    assert first != split_by_group(cases, (0.7, 0.1, 0.2), 1)


def test_too_few_groups_are_refused():
    with pytest.raises(DataError, match="4 cases of 2 groups cannot fill 3 splits"):
        split_by_group(cases_of([0, 0, 1, 1]), (0.6, 0.2, 0.2), 0)


@given(GROUPS, st.integers(0, 5))
def test_held_out_groups_are_whole(groups, seed):
    cases = cases_of(groups)
    kept, held = hold_out(cases, 1, seed)
    assert held and kept
    assert not {case.group for case in kept} & {case.group for case in held}
    assert Counter(kept + held) == Counter(cases)


def test_holding_out_all_is_refused():
    with pytest.raises(DataError, match="leaves none to train on"):
        hold_out(cases_of([0, 1]), 2, 0)


def test_holding_out_none_keeps_all():
    cases = cases_of([0, 1])
    assert hold_out(cases, 0, 0) == (cases, [])


def test_lists_are_followed(tmp_path):
    (tmp_path / "train.txt").write_text("# ours\n0\n\n2\n")
    (tmp_path / "test.txt").write_text("1\n")
    splits = read_lists(tmp_path, cases_of([0, 1, 2]))
    assert splits is not None
    assert [[case.name for case in splits[split]] for split in SPLITS] == [["0", "2"], [], ["1"]]


def test_without_lists_there_is_none(tmp_path):
    assert read_lists(tmp_path, cases_of([0])) is None


@pytest.mark.parametrize("name", ["../0", "/etc/passwd", "a\\0", ".."])
def test_a_list_may_not_lead_out_of_the_folder(tmp_path, name):
    (tmp_path / "train.txt").write_text(f"{name}\n")
    with pytest.raises(DataError, match="may not lead out"):
        read_lists(tmp_path, cases_of([0]))


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"train": "9"}, r"train\.txt lists '9', but images/ holds no such file"),
        ({"train": "0\n0"}, r"train\.txt lists '0' twice"),
        ({"train": "0", "test": "0"}, r"group 'p0' in both train and test"),
        ({"train": "0", "test": "1"}, r"group 'p0' in both train and test \(1\)"),
    ],
)
def test_what_is_wrong_in_a_list_is_named(tmp_path, lists, message):
    for split, text in lists.items():
        (tmp_path / f"{split}.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_lists(tmp_path, cases_of([0, 0]))


def test_a_list_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "test.txt").write_bytes(b"0\n\x91\n")
    with pytest.raises(DataError, match=r"test\.txt does not read as a list"):
        read_lists(tmp_path, cases_of([0, 0]))


def test_the_pattern_finds_the_patient():
    splitting = Splitting(group=r"^(patient\d+)_")
    assert splitting.group_of("patient007_slice3") == "patient007"
    with pytest.raises(DataError, match=r"finds no patient in 'x'"):
        splitting.group_of("x")


@pytest.mark.parametrize("pattern", ["(", "abc", "(a)(b)"])
def test_a_pattern_without_exactly_one_group_is_refused(pattern):
    with pytest.raises(ValidationError, match="group"):
        Splitting(group=pattern)


@pytest.mark.parametrize("fractions", [(0.5, 0.5, 0.5), (1.2, -0.1, -0.1)])
def test_fractions_that_are_no_shares_are_refused(fractions):
    with pytest.raises(ValidationError, match="sum to 1"):
        Splitting(fractions=fractions)


@given(GROUPS, st.integers(0, 5), st.integers(2, 3))
def test_every_group_validates_in_exactly_one_fold(groups, seed, folds):
    cases = cases_of(groups)
    sides = [fold_of(cases, folds, fold, seed) for fold in range(folds)]
    validated = [case for each in sides for case in each["validation"]]
    assert Counter(validated) == Counter(cases)
    for each in sides:
        assert Counter(each["train"] + each["validation"]) == Counter(cases)
        assert not {case.group for case in each["train"]} & {c.group for c in each["validation"]}


def test_more_folds_than_groups_are_refused():
    with pytest.raises(DataError, match="of 2 groups cannot be 3 folds"):
        fold_of(cases_of([0, 0, 1]), 3, 0, 0)
    with pytest.raises(ValidationError, match="fold is 5, but must be 0 to 4"):
        Splitting(fold=5)
