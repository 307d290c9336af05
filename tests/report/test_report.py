import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from hidiff.evaluation.chosen import choose_cases
from hidiff.metrics import METRICS, summarise
from hidiff.report.figures import compact
from hidiff.report.pictures import CasePicture
from hidiff.report.report import write_report

NASTY = '<script>alert("x")</script>&'


def make_rows(scores, gain=0.05, class_name="vessel", per="image", unit="px"):
    """A prior and a refined row per case; every share is the score, the distance falls with it."""
    return [
        {"case": case, "group": case, "class": class_name, "source": source}
        | {"per": per, "unit": unit}
        | {n: value if m.unit == "share" else 10 * (1 - value) for n, m in METRICS.items()}
        for case, score in scores.items()
        for source, value in (("prior", score), ("refined", score + gain))
    ]


def make_page(folder, rows, **settings):
    defaults = {"title": "A title", "summary": summarise(rows), "rows": rows}
    return write_report(folder, **(defaults | settings)).read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Collects what a browser would show and load, and whether tags close in order."""

    VOID = frozenset({"meta", "img"})

    def __init__(self, page):
        super().__init__()
        self.text, self.tags, self.sources, self.open = "", [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data + " "


SCORES = {f"case_{i}": 0.5 + 0.03 * i for i in range(11)}


def test_the_worst_the_median_and_the_best_case_are_chosen():
    rows = make_rows(SCORES)
    assert choose_cases(rows) == {"case_0": "worst", "case_5": "median", "case_10": "best"}
    assert choose_cases(rows, metric="hd95") == choose_cases(rows)
    assert list(choose_cases(rows, 6)) == [f"case_{i}" for i in (0, 1, 5, 6, 9, 10)]
    assert list(choose_cases(rows, 100)) == list(SCORES)
    assert choose_cases(rows, 1) == {"case_0": "worst"}
    prior_only = [row for row in rows if row["source"] == "prior"]
    assert choose_cases(prior_only) == choose_cases(rows)


def test_a_case_is_judged_by_its_mean_over_classes():
    rows = make_rows({"a": 0.9, "b": 0.5, "c": 0.6}) + make_rows(
        {"a": 0.1, "b": 0.7, "c": 0.6}, class_name="disc"
    )
    assert choose_cases(rows) == {"a": "worst", "b": "median", "c": "best"} or (
        choose_cases(rows) == {"a": "worst", "c": "median", "b": "best"}
    )


def test_the_page_holds_the_numbers_of_the_summary(tmp_path):
    rows = make_rows(SCORES)
    summary = summarise(rows)
    text = Reader(make_page(tmp_path, rows)).text
    dice = summary.entry("vessel", "dice")
    for number in (dice.prior.mean, dice.refined.mean, dice.refined.low, dice.refined.high):
        assert f"{number:.3f}" in text
    assert "+0.050 [+0.050, +0.050]" in text
    assert "refinement helps" in text
    assert "-0.50 [-0.50, -0.50]" in text  # HD95: lower is better
    assert "worse" not in text.replace("worst", "")
    for case in SCORES:
        assert case in text


def test_the_verdict_is_no_stronger_than_the_interval(tmp_path):
    rows = make_rows({"a": 0.5, "b": 0.6, "c": 0.7, "d": 0.7, "e": 0.7, "f": 0.7})
    noisy = [row | {"dice": row["dice"] + (0.2 if row["case"] == "a" else -0.06)} for row in rows]
    mixed = [
        new if new["source"] == "refined" else row for row, new in zip(rows, noisy, strict=True)
    ]
    text = Reader(make_page(tmp_path, mixed)).text
    assert "not significant, so this can be chance" in text
    assert "intervals are too narrow" in text  # six groups
    five = dict(list(SCORES.items())[:5])
    assert (
        "too few for a verdict, so this can be chance"
        in Reader(make_page(tmp_path, make_rows(five))).text
    )
    text = Reader(make_page(tmp_path, make_rows({"a": 0.5}))).text
    assert "no interval, so this can be chance" in text


def test_the_rule_for_empty_masks_is_on_the_page(tmp_path):
    text = re.sub(r"\s+", " ", Reader(make_page(tmp_path, make_rows(SCORES))).text)
    assert "Dice ↑ 1 0" in text
    rows = make_rows(SCORES, per="volume", unit="mm")
    text = re.sub(r"\s+", " ", Reader(make_page(tmp_path, rows)).text)
    assert "HD95 (mm) ↓ 0 the image diagonal" in text
    assert "Measured per volume, distances in mm." in text


def make_picture(name):
    labels = np.eye(8, dtype=np.uint8)
    return CasePicture(
        name=name,
        image=np.zeros((8, 8, 3), np.uint8),
        truth=labels,
        prior_labels=labels,
        labels=labels * 2,
        uncertainty=np.zeros((8, 8), np.float32),
        score=0.123,
        prior_score=0.456,
        score_name=NASTY,
        role=NASTY,
    )


def test_large_pictures_are_made_smaller_and_small_ones_kept_exactly():
    noise = np.random.default_rng(0).integers(0, 256, (100, 50, 3), dtype=np.uint8)
    kind, content = compact(noise, 100)
    assert kind == "png"
    assert np.array_equal(np.array(Image.open(io.BytesIO(content))), noise)
    kind, content = compact(np.tile(noise, (4, 4, 1)), 120)
    assert (kind, Image.open(io.BytesIO(content)).size) == ("jpeg", (60, 120))


def test_names_are_escaped_and_the_page_needs_no_other_file(tmp_path):
    scores = {NASTY: 0.5, "<svg onload=1>": 0.7, "<span>": 0.4}
    rows = make_rows(scores, class_name=NASTY, unit=NASTY)
    bits = np.ones((1, 8, 8), np.float32)
    page = make_page(
        tmp_path,
        rows,
        title=NASTY,
        pictures=[make_picture(NASTY)],
        trace=[(2, bits, bits), (1, bits, bits)],
        trace_name=NASTY,
        facts={NASTY: NASTY},
        notes=[NASTY],
    )
    reader = Reader(page)
    assert "script" not in reader.tags
    assert "onload=1>" not in page
    assert reader.text.count(NASTY) >= 10
    kinds = [source.partition(";base64,")[0] for source in reader.sources]
    assert kinds.count("data:image/png") == 8 + 4  # the panels of a case, two pictures a step
    assert kinds.count("data:image/svg+xml") == len(kinds) - 12 == 2
    assert "0.456 to 0.123" in reader.text
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("source", ["prior", "refined"])
def test_one_source_alone_makes_a_page_without_differences(source, tmp_path):
    rows = [row for row in make_rows(SCORES) if row["source"] == source]
    reader = Reader(make_page(tmp_path, rows))
    assert reader.sources == []
    assert "refinement" not in reader.text


def test_several_classes_have_a_line_each_and_one_for_their_mean(tmp_path):
    rows = make_rows(SCORES) + make_rows(SCORES, gain=-0.1, class_name="disc")
    text = re.sub(r"\s+", " ", Reader(make_page(tmp_path, rows)).text)
    assert "Mean Dice" in text
    assert "mean 0.650 0.625 -0.025 [-0.025, -0.025] worse" in text
    assert "refinement hurts" in text


def test_of_very_many_cases_the_worst_are_listed(tmp_path):
    rows = make_rows({f"case_{i:04d}": 0.001 * i for i in range(600)})
    text = Reader(make_page(tmp_path, rows)).text
    assert "600 images, the 500 worst shown" in text
    assert "case_0499 case_0499 0.499 0.549" in re.sub(r"\s+", " ", text)
