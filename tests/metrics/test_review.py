"""The flag catches what it should, by hand, and says so without flattery."""

import csv

import pytest

from hidiff.metrics import flag_for_review, write_review

ERROR = {"a": 0.1, "b": 0.5, "c": 0.2, "d": 0.1, "e": 0.1}


def test_the_most_doubtful_are_flagged_and_their_errors_added_up(tmp_path):
    review = flag_for_review({"a": 3.0, "b": 2.0, "c": 1.0, "d": 0.5, "e": 0.1}, ERROR, share=0.4)
    assert review.flagged == ("a", "b")
    assert review.threshold == 2.0
    assert review.caught == pytest.approx(0.6)
    assert review.at_best == pytest.approx(0.7)
    assert "2 of 5 cases" in str(review) and "hold 60% of the error" in str(review)
    assert "A random choice of 2 would hold 40%, the best choice 70%." in str(review)
    write_review(review, tmp_path / "review.csv")
    with open(tmp_path / "review.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["case"], line["needs_review"]) for line in lines][:3] == [
        ("a", "yes"), ("b", "yes"), ("c", "no"),
    ]  # fmt: skip
    assert float(lines[0]["error"]) == 0.1


def test_a_doubt_that_is_the_error_catches_the_most_there_is():
    review = flag_for_review(ERROR, ERROR, share=0.4)
    assert review.caught == review.at_best
    assert review.skill == pytest.approx(1)


def test_skill_is_the_share_of_what_chance_leaves_to_find():
    review = flag_for_review({"a": 3.0, "b": 2.0, "c": 1.0, "d": 0.5, "e": 0.1}, ERROR, share=0.4)
    assert review.skill == pytest.approx((0.6 - 0.4) / (0.7 - 0.4))
    assert flag_for_review({"a": 1.0, "b": 0.0}, {"a": 0.1, "b": 0.1}).skill is None


def test_one_case_at_least_is_flagged_and_equal_ones_by_name():
    assert flag_for_review({"b": 1.0, "a": 1.0}, {"a": 0.0, "b": 0.1}, share=0.01).flagged == ("a",)


def test_without_error_there_is_nothing_to_catch():
    review = flag_for_review({"a": 1.0}, {"a": 0.0})
    assert review.caught is None and "no error to catch" in str(review)


def test_cases_without_a_doubt_are_refused():
    with pytest.raises(ValueError, match="1 cases have a doubt and 5 an error"):
        flag_for_review({"a": 1.0}, ERROR)
