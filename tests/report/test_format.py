import pytest

from hidiff.metrics import Entry, Interval, SignedRank, Summary
from hidiff.report.format import format_interval, format_number, judge, markdown_table

PRIOR, REFINED = Interval(0.8, 0.75, 0.85), Interval(0.82, 0.78, 0.86)
FAR, FARTHER = Interval(12.5, 10.0, 15.0), Interval(11.25, 9.0, 14.0)


def summary_of(*class_names, num_groups=12, **scale):
    entries = [
        entry
        for name in class_names
        for entry in (
            Entry(
                name, "dice", PRIOR, REFINED, Interval(0.02, -0.01, 0.05), SignedRank(0.0312, 11)
            ),
            Entry(name, "hd95", FAR, FARTHER, Interval(-1.25, -2.0, -0.5), SignedRank(1e-6, 12)),
        )
    ]
    return Summary(tuple(entries), num_groups, num_groups, 2000, 0, **scale)


def test_markdown_says_prior_refined_difference_and_n():
    summary = summary_of("a|b", "mean", per="volume", unit="mm")
    table = markdown_table(summary, metrics=("dice", "hd95"))
    assert table.splitlines()[2:] == [  # one class: no line for the mean of one
        "| a\\|b | Dice ↑ | 0.800 | 0.820 | +0.020 [-0.010, +0.050] | 0.031 (n = 11) | 12 |",
        "| a\\|b | HD95 (mm) ↓ | 12.50 | 11.25 | -1.25 [-2.00, -0.50] | <0.001 (n = 12) | 12 |",
        "",
        "Measured per volume, distances in mm.",
    ]


def test_markdown_gives_the_mean_of_several_classes_a_line():
    lines = markdown_table(summary_of("artery", "vein", "mean")).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:5]] == ["| artery", "| vein", "| mean"]


def test_what_is_not_there_is_a_dash():
    entries = (Entry("x", "dice", PRIOR, None, None), Entry("mean", "dice", PRIOR, None, None))
    line = markdown_table(Summary(entries, 3, 3, 2000, 0)).splitlines()[2]
    assert line == "| x | Dice ↑ | 0.800 | - | - | - | 3 |"


def test_a_difference_that_rounds_to_nothing_has_no_sign():
    assert format_number("dice", -0.0001, signed=True) == "0.000"
    assert format_number("dice", -0.0004) == "0.000"
    assert format_number("dice", 0.0006, signed=True) == "+0.001"


def test_a_mean_of_one_group_stands_without_an_interval():
    assert format_interval("hd95", Interval(2.0, None, None)) == "2.00"
    assert format_interval("hd95", None) == "-"


@pytest.mark.parametrize(
    "metric, low, high, word",
    [
        ("dice", 0.01, 0.03, "better"),
        ("dice", -0.03, -0.01, "worse"),
        ("dice", -0.01, 0.03, "unclear"),
        ("hd95", -2.0, -1.0, "better"),
        ("hd95", 1.0, 2.0, "worse"),
        ("dice", 0.0, 0.0, "unclear"),
        ("dice", None, None, ""),
        ("a metric of somebody", 1.0, 2.0, ""),
    ],
)
def test_a_verdict_needs_an_interval_beside_zero(metric, low, high, word):
    mean = 0.0 if low is None else (low + high) / 2
    assert judge(Entry("x", metric, PRIOR, REFINED, Interval(mean, low, high, n=6))) == word


def test_of_five_groups_nothing_is_said():
    five = Interval(0.2, 0.1, 0.3, n=5)
    assert judge(Entry("x", "dice", PRIOR, REFINED, five)) == "few"
