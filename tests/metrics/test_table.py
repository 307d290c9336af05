import csv
import json

import numpy as np
import pytest

from hidiff.metrics import summarise, write_csv, write_json


def make_rows(num_groups=12, cases_each=2, classes=("artery", "vein"), gain=0.02, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for g in range(num_groups):
        for i in range(cases_each):
            for name in classes:
                prior = 0.7 + 0.1 * rng.standard_normal()
                step = gain + 0.01 * rng.standard_normal()
                for source, dice in (("prior", prior), ("refined", prior + step)):
                    row = {"case": f"{g}_{i}", "group": g, "class": name, "source": source}
                    rows.append(row | {"dice": dice, "hd95": 10 * (1 - dice)})
    return rows


def test_means_by_hand_average_the_cases_of_a_group_first():
    dice = {("a", "p1"): 0.2, ("b", "p1"): 0.4, ("c", "p2"): 0.9}
    rows = [
        {"case": case, "group": group, "class": "x", "source": "refined", "dice": value}
        for (case, group), value in dice.items()
    ]
    summary = summarise(rows)
    entry = summary.entry("x", "dice")
    assert entry.refined.mean == pytest.approx((0.3 + 0.9) / 2)
    assert (summary.num_groups, summary.num_cases) == (2, 3)
    assert entry.prior is None and entry.difference is None
    assert summary.entry("mean", "dice").refined == entry.refined


def test_the_mean_class_is_the_mean_of_the_classes():
    summary = summarise(make_rows())
    for source in ("prior", "refined", "difference"):
        one, two, mean = (
            getattr(summary.entry(name, "hd95"), source).mean for name in ("artery", "vein", "mean")
        )
        assert mean == pytest.approx((one + two) / 2)


def test_the_difference_is_paired():
    entry = summarise(make_rows()).entry("mean", "dice")
    assert entry.difference.mean == pytest.approx(entry.refined.mean - entry.prior.mean)
    paired = entry.difference.high - entry.difference.low
    assert paired < 0.3 * (entry.refined.high - entry.refined.low)
    assert entry.difference.low > 0


def test_the_interval_is_near_the_normal_one_for_many_groups():
    values = np.random.default_rng(3).normal(0.8, 0.05, 400)
    rows = [
        {"case": i, "group": i, "class": "x", "source": "prior", "dice": v}
        for i, v in enumerate(values)
    ]
    interval = summarise(rows).entry("x", "dice").prior
    half = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_the_same_seed_gives_the_same_summary_whatever_the_order_of_rows_in_a_case():
    rows = make_rows()
    assert summarise(rows, seed=4) == summarise(rows, seed=4)
    assert summarise(rows, seed=4) != summarise(rows, seed=5)
    backwards = summarise(rows[::-1], seed=4).entry("vein", "dice").difference
    forwards = summarise(rows, seed=4).entry("vein", "dice").difference
    assert (backwards.low, backwards.high) == pytest.approx((forwards.low, forwards.high))


def test_one_group_has_no_interval():
    entry = summarise(make_rows(num_groups=1)).entry("mean", "dice")
    assert entry.refined.low is None and entry.refined.high is None


def test_rows_are_not_modified():
    rows = make_rows()
    before = [dict(row) for row in rows]
    summarise(rows)
    assert rows == before


def broken(change):
    rows = make_rows()
    change(rows)
    return rows


@pytest.mark.parametrize(
    "rows, words",
    [
        ([], "no rows"),
        (broken(lambda rows: rows.pop()), "has no refined row of class 'vein'"),
        (broken(lambda rows: rows[5].update(dice=float("nan"))), "not a finite number"),
        (broken(lambda rows: rows[5].pop("dice")), "the same columns"),
        (broken(lambda rows: rows.append(rows[0])), "only 96 different"),
        (broken(lambda rows: rows[3].update(source="best")), "can only be prior and refined"),
        (make_rows(classes=("mean",)), "Rename"),
    ],
)
def test_what_would_flatter_a_mean_is_an_error(rows, words):
    with pytest.raises(ValueError, match=words):
        summarise(rows)


def test_asking_for_what_is_not_there_lists_what_is():
    with pytest.raises(KeyError, match="dice, hd95"):
        summarise(make_rows()).entry("vein", "iou")


def test_csv_keeps_every_digit(tmp_path):
    rows = make_rows()
    write_csv(rows, tmp_path / "cases.csv")
    with open(tmp_path / "cases.csv", newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert [float(row["dice"]) for row in read] == [row["dice"] for row in rows]
    assert [row["class"] for row in read] == [row["class"] for row in rows]
    assert list(read[0]) == ["case", "group", "class", "source", "dice", "hd95"]
    assert [path.name for path in tmp_path.iterdir()] == ["cases.csv"]


def test_json_holds_the_whole_summary(tmp_path):
    summary = summarise(make_rows(), seed=7)
    write_json(summary, tmp_path / "summary.json")
    read = json.loads((tmp_path / "summary.json").read_text())
    assert (read["seed"], read["num_groups"], len(read["entries"])) == (7, 12, 6)
    assert read["entries"][0]["prior"]["mean"] == summary.entries[0].prior.mean
