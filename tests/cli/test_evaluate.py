"""`hidiff evaluate`: tables, report and pictures of the right cases."""

import csv
import json
import shutil

import pytest


def cases_of(folder) -> set[str]:
    with open(folder / "rows.csv", newline="") as file:
        return {row["case"] for row in csv.DictReader(file)}


def test_the_test_split_is_judged_into_the_run(hidiff, trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    result = hidiff("evaluate", run)
    assert result.exit_code == 0, result.output
    assert "prior" in result.stdout
    assert "refined" in result.stdout
    assert cases_of(run / "test") == {"case-008", "case-009"}
    summary = json.loads((run / "test" / "summary.json").read_text())
    assert summary["num_cases"] == 2
    assert "Needs review: the 1 of 2 cases" in result.stdout
    assert (run / "test" / "review.csv").is_file()
    assert "| curve |" in (run / "test" / "table.md").read_text()
    page = (run / "test" / "report.html").read_text()
    assert "Every step of one refinement" in page
    pictures = {file.name.split("_")[0] for file in (run / "test" / "pictures").iterdir()}
    assert pictures == {"worst", "best", "steps"}

    again = hidiff("evaluate", run)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr


def test_without_a_report_only_tables_are_written(hidiff, trained, tmp_path):
    words = ("--split", "validation", "--no-report", "--steps", "1")
    result = hidiff("evaluate", trained, "--output", tmp_path / "out", *words)
    assert result.exit_code == 0, result.output
    assert cases_of(tmp_path / "out") == {"case-006", "case-007"}
    assert not (tmp_path / "out" / "report.html").exists()


def judged(hidiff, trained, data, out) -> set[str]:
    words = ("--data", data, "--no-report", "--steps", "1", "--output", out)
    result = hidiff("evaluate", trained, *words)
    assert result.exit_code == 0, result.output
    return cases_of(out)


def test_of_another_folder_all_is_judged(hidiff, trained, data, tmp_path):
    copy = shutil.copytree(data, tmp_path / "data", ignore=shutil.ignore_patterns("*.txt"))
    assert len(judged(hidiff, trained, copy, tmp_path / "out")) == 10


def test_of_another_folder_with_lists_its_test_split_is_judged(hidiff, trained, data, tmp_path):
    copy = shutil.copytree(data, tmp_path / "data")
    assert judged(hidiff, trained, copy, tmp_path / "out") == {"case-008", "case-009"}


def test_naming_the_recipes_own_folder_judges_no_training_image(hidiff, trained, data, tmp_path):
    assert judged(hidiff, trained, data, tmp_path / "out") == {"case-008", "case-009"}


def test_a_model_of_stage_1_is_judged_by_its_prior(hidiff, trained, tmp_path):
    words = ("--output", tmp_path / "out")
    result = hidiff("evaluate", trained / "stage1.safetensors", *words)
    assert result.exit_code == 0, result.output
    assert "no trained refiner" in result.stderr
    with open(tmp_path / "out" / "rows.csv", newline="") as file:
        assert {row["source"] for row in csv.DictReader(file)} == {"prior"}


def test_an_unknown_split_is_refused(hidiff, trained):
    result = hidiff("evaluate", trained, "--split", "tset")
    assert result.exit_code == 2
    assert "train, validation, test" in result.stderr


@pytest.mark.parametrize(
    ("name", "message"), [("nowhere", "no folder at {}"), ("empty", "no folder at {}/images")]
)
def test_missing_data_is_refused_by_name(hidiff, trained, tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    result = hidiff("evaluate", trained, "--data", tmp_path / name)
    assert result.exit_code == 2
    assert message.format(tmp_path / name) in result.stderr


@pytest.mark.parametrize("kind, word", [("objects", "Object recall"), ("calibre", "Sensitivity")])
def test_tables_by_size_are_written_when_asked_for(hidiff, trained, tmp_path, kind, word):
    words = ("--steps", "1", "--sizes", kind, "--output", tmp_path / "out")
    result = hidiff("evaluate", trained, *words)
    assert result.exit_code == 0, result.output
    assert word in (tmp_path / "out" / "sizes.md").read_text()
    assert (tmp_path / "out" / "reliability.csv").is_file()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "By size" in page
    assert "reliability of curve" in page.lower()
    assert "Measured per image, distances in px." in (tmp_path / "out" / "table.md").read_text()
