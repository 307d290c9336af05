"""Pages and tables show what the rows say, and those of the repository are up to date."""

import csv
import re
from pathlib import Path

import pytest

from hidiff.suites import Results
from research.pages import (
    evidence,
    organs_page,
    packed_page,
    reading,
    results_page,
    retire_rows,
    speed_page,
    why_page,
)
from research.pages.compare import find_pairs, the_pair
from research.pages.tables import differences_table, make_tables, scores_table, training_table
from tests.research.made_up import add

ROOT = Path(__file__).parents[2]
SUITE = """
name: made_up
arms: {stage1: , segmentor_only: , hybrid: , finer: {refiner.fine: true}}
recipes: {eyes: {recipe: eyes.yaml}}
"""


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Three arms of two seeds, and a fourth of one."""
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "made_up.yaml").write_text(SUITE)
    results = Results(tmp_path / "rows" / "made_up")
    for seed in (0, 1):
        for arm, gain in (("stage1", 0.0), ("segmentor_only", 0.01), ("hybrid", 0.03)):
            add(results, arm, gain, seed=seed, seconds_per_case=1.0 + seed)
    add(results, "finer", 0.05)
    return results


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def run(module, monkeypatch, *words: object) -> None:
    monkeypatch.setattr("sys.argv", ["script", *map(str, words)])
    module.main()


def test_every_page_and_table_of_the_repository_is_what_the_rows_say(tmp_path, monkeypatch):
    """Fails if rows or scripts changed after the pages: run `make docs`."""
    suites = reading.read_suites()
    claims = results_page.judge_claims(list(suites.values()))
    results_page.write_tables(suites, claims, tmp_path / "research" / "rows")
    results_page.write_page(suites, claims, tmp_path / "docs" / "results.md")
    (tmp_path / "README.md").write_bytes((ROOT / "README.md").read_bytes())
    (tmp_path / "docs" / "images").mkdir()
    for name in ("correction.md", "kernels.md"):  # parts of them are replaced
        (tmp_path / "docs" / name).write_bytes((ROOT / "docs" / name).read_bytes())
    for module in (evidence, why_page, packed_page, organs_page, speed_page):
        monkeypatch.setattr(module, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(evidence, "replace_part", replace_in(tmp_path))
    for module in (evidence, organs_page):
        monkeypatch.setattr(module, "read_suites", lambda: suites)
    monkeypatch.setattr(packed_page, "draw", lambda *_: None)  # its bytes depend on fonts
    for module in (evidence, why_page, packed_page, organs_page, speed_page):
        module.main()
    made = files_of(tmp_path)
    assert len(made) > 30
    old = [name for name, content in made.items() if (ROOT / name).read_bytes() != content]
    assert old == [], "run: make docs"
    tables = {str(file.relative_to(ROOT)) for file in reading.ROWS.glob("*/tables/*.csv")}
    assert tables == {name for name in made if "/tables/" in name}


def replace_in(folder: Path):
    """Return replace_part for the page of the same name in another folder."""

    def replace(file: Path, name: str, text: str) -> None:
        reading.replace_part(folder / file.name, name, text)

    return replace


def test_the_results_page_is_short():
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert len(re.findall(r"\w[\w.'-]*", text)) < 900


def test_equal_rows_give_equal_pages_and_tables(results, tmp_path, monkeypatch):
    rows, suites = tmp_path / "rows", tmp_path / "suites"
    made = []
    for name in ("one", "two"):
        page = tmp_path / name / "results.md"
        run(results_page, monkeypatch, "--rows", rows, "--suites", suites, "--page", page)
        made.append((files_of(page.parent), files_of(rows / "made_up" / "tables")))
    assert made[0] == made[1]
    assert "results.md" in made[0][0] and "differences.csv" in made[0][1]


def test_lines_of_the_tables_name_their_seeds(results):
    rows = results.latest()
    hybrid = [line for line in scores_table(results, rows) if line["arm"] == "hybrid"]
    assert {line["seeds"] for line in hybrid} == {"0 1"}
    (pair,) = find_pairs(results, "segmentor_only", "finer")
    assert {line["seeds"] for line in differences_table([pair])} == {"0"}


def test_the_tables_hold_the_numbers_of_the_rows(results):
    tables = make_tables(results)
    gains = {
        line["difference"]: float(str(line["mean"]))
        for line in tables["differences"]
        if line["metric"] == "dice"
    }
    assert gains["hybrid - segmentor_only"] == pytest.approx(0.02, abs=0.004)
    assert gains["finer - segmentor_only"] == pytest.approx(0.04, abs=0.004)
    (line,) = (line for line in training_table(results.latest()) if line["arm"] == "hybrid")
    assert (line["PFLOP"], line["training_minutes"]) == ("3.000", "1.0")
    assert line["seconds_per_case"] == "1.500"  # the mean of two seeds


def test_the_cost_figure_compares_the_same_seeds(results):
    rows = [row for row in results.latest() if row["arm"] != "hybrid" or row["seed"] == 1]
    one_seed = Results(results.folder, rows)
    seconds = {point.label: point.x for point in results_page.cost_points(one_seed)["eyes"]}
    assert seconds == {"stage1": 2.0, "segmentor_only": 2.0, "hybrid": 2.0}


def test_corruptions_are_a_line_each(results):
    for strength in (1, 2):
        look = {"corruption": "noise", **({"strength": strength} if strength > 1 else {})}
        add(results, "hybrid", -0.1 * strength, evaluation=f"noise {strength}", look=look)
    (line,) = make_tables(results)["corruptions"]
    assert [line[f"dice_{n}"] for n in (0, 1, 2)] == ["0.6300", "0.5000", "0.4000"]


def test_a_pair_that_is_not_there_is_refused(results):
    with pytest.raises(KeyError, match="0 pairs of best and segmentor_only on eyes"):
        the_pair(results, "eyes", "best", "segmentor_only", "test")


def test_rows_of_arms_that_left_the_suite_are_not_shown(results, tmp_path):
    add(results, "retired", 0.5)
    suites = reading.read_suites(tmp_path / "rows", tmp_path / "suites")
    assert "retired" not in {row["arm"] for row in suites["made_up"].rows}
    assert len(suites["made_up"].rows) == len(results.rows) - 1


def test_no_rows_at_all_are_refused(tmp_path):
    (tmp_path / "made_up.yaml").write_text(SUITE)
    with pytest.raises(FileNotFoundError, match=r"has no rows of a suite.*hidiff benchmark"):
        reading.read_suites(tmp_path / "none", tmp_path)


def test_retired_rows_are_kept_as_csv_and_then_deleted(results, tmp_path, monkeypatch):
    add(results, "retired", 0.5, changes={"old.setting": 2}, small=0.1)
    kept, retired = results.rows[:-1], results.rows[-1]
    folders = "--rows", tmp_path / "rows", "--suites", tmp_path / "suites"
    run(retire_rows, monkeypatch, *folders)
    folder = tmp_path / "rows" / "retired"
    before = files_of(folder)
    with open(folder / "cases.csv", newline="") as file:
        cases = list(csv.DictReader(file))
    assert {case["arm"] for case in cases} == {"retired"} and len(cases) == 20
    assert [float(case["dice"]) for case in cases] == [
        case["dice"] for case in results.cases(retired)
    ]
    assert (results.folder / retired["cases"]).is_file()
    run(retire_rows, monkeypatch, *folders, "--delete")
    assert files_of(folder) == before
    assert not (results.folder / retired["cases"]).exists()
    suites = reading.read_suites(tmp_path / "rows", tmp_path / "suites")
    assert suites["made_up"].rows == kept
    assert all((results.folder / row["cases"]).is_file() for row in kept)


def test_only_the_marked_part_of_a_page_is_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("head\n<!-- evidence -->\nold\n<!-- end of evidence -->\ntail\n")
    reading.replace_part(page, "evidence", "new")
    assert page.read_text() == (
        "head\n<!-- evidence -->\n\nnew\n\n<!-- end of evidence -->\ntail\n"
    )


@pytest.mark.parametrize("text", ["none", "<!-- evidence --> no end", "<!-- end of evidence -->"])
def test_a_page_without_both_marks_is_refused(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match="lacks the marks <!-- evidence -->"):
        reading.replace_part(page, "evidence", "new")
    assert page.read_text() == text
