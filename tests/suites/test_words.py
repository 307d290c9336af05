"""What README.md and docs/benchmarks.md say of the results is what the rows say."""

import importlib.util
import re
from pathlib import Path

import jinja2
import pytest

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("words", ROOT / "benchmarks" / "words.py")
assert SPEC and SPEC.loader
words = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(words)
WORDS = ROOT / "benchmarks" / "words"


@pytest.mark.parametrize("name", words.PAGES)
def test_the_page_says_what_the_rows_say(name):
    page = words.PAGES[name]
    told = "run: python benchmarks/words.py"
    assert words.fill(page, WORDS / name) == page.read_text(encoding="utf-8"), told


@pytest.mark.parametrize("name", words.PAGES)
def test_no_score_is_typed_by_hand(name):
    by_hand = re.sub(r"\{[{%].*?[}%]\}", "", (WORDS / name).read_text(), flags=re.DOTALL)
    assert re.findall(r"(?<![\w.])[+-]?0?\.\d+", by_hand) == []


def test_numbers_and_nothing_else_are_filled_in(tmp_path):
    page, text = tmp_path / "page.md", tmp_path / "words.md"
    page.write_text("# Head\n<!-- words -->\nold\n<!-- end of words -->\ntail\n")
    text.write_text('- One has {{ score("main", "DRIVE", "stage1") }}.\n- Two\n  lines.\n')
    found = words.fill(page, text)
    head, middle, tail = re.split(r"<!-- .*? -->", found)
    assert (head, tail) == ("# Head\n", "\ntail\n")
    assert re.fullmatch(r"- One has \.\d{3}\.\n- Two lines\.", middle.strip())


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ('{{ score("main", "Mars", "stage1") }}', KeyError),
        ('{{ pair("main", "DRIVE", "no such arm") }}', KeyError),
        ("{{ nothing }}", jinja2.UndefinedError),
    ],
)
def test_a_number_that_no_row_has_is_refused(tmp_path, said, error):
    page, text = tmp_path / "page.md", tmp_path / "words.md"
    page.write_text("<!-- words --><!-- end of words -->")
    text.write_text(said)
    with pytest.raises(error):
        words.fill(page, text)


def test_a_page_without_its_marks_is_refused(tmp_path):
    page, text = tmp_path / "page.md", tmp_path / "words.md"
    page.write_text("<!-- words --> no end")
    text.write_text("nothing")
    with pytest.raises(ValueError, match="end of words"):
        words.fill(page, text)


@pytest.mark.parametrize(
    ("value", "signed", "said"),
    [(0.8094, False, ".809"), (0.022, True, "+.022"), (-0.0104, True, "-.010"),
     (-0.0002, True, ".000"), (0.0, True, ".000"), (10.5, False, "10.500"), (1.0, False, "1.000")],
)  # fmt: skip
def test_short_numbers(value, signed, said):
    assert words.short(value, signed) == said


def test_bullets_are_filled_and_never_broken_at_a_hyphen():
    text = "Before.\n\n- one " + "long-winded " * 12 + "\n- two"
    before, bullets = words.wrap(text).split("\n\n")
    assert before == "Before."
    lines = bullets.splitlines()
    assert lines[0].startswith("- one") and lines[1].startswith("  long-winded")
    assert lines[-1] == "- two"
    assert all(len(line) <= words.WIDTH and not line.endswith("-") for line in lines)


def test_more_work_against_a_rival_that_does_none_is_the_same_pairing():
    place = "coarse", "LIDC, FPN", "fine, joint"
    assert words.more_work(*place, "test") == words.pair(*place)
    other = words.more_work("ablation", "LIDC", "hybrid", "8 samples", rival="main", seeds=(0,))
    assert other.before == words.pair("main", "LIDC", "hybrid", seeds=(0,)).before
    with pytest.raises(KeyError, match="not judged on the same cases"):
        words.more_work(*place, "test", seeds=(7,))
