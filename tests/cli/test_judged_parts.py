"""Evaluations in parts, killed and continued: the same files as of one evaluation."""

import shutil

import pytest


@pytest.fixture
def judge(hidiff, trained, data, tmp_path):
    """The command on ten images, with two samples and sizes; the output is out/ or another."""
    images = shutil.copytree(data, tmp_path / "data", ignore=shutil.ignore_patterns("*.txt"))
    fixed = ("--data", images, "--sizes", "objects", "--samples", "2", "--steps", "1")

    def run(*words, out="out"):
        return hidiff(
            "evaluate", trained, *fixed, "--no-report", "--output", tmp_path / out, *words
        )

    run.images, run.folder = images, tmp_path / "out"
    return run


def content(folder):
    return {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_parts_that_were_killed_and_joined_equal_one_evaluation(judge, tmp_path):
    assert judge(out="one").exit_code == 0
    for part in (3, 1):
        result = judge("--part", part, "--parts", 3)
        assert result.exit_code == 0, result.output
        assert f"cases of part {part} of 3 are evaluated" in result.stdout
    assert {file.name for file in judge.folder.iterdir()} == {"parts"}

    journal = judge.folder / "parts" / "1-of-3.jsonl"  # as a kill leaves it
    lines = journal.read_text().splitlines(keepends=True)
    assert len(lines) == 1 + 4
    journal.write_text("".join(lines[:3]) + lines[3][:100])
    result = judge("--part", 1, "--parts", 3, "--continue")
    assert "2 of 4 cases were evaluated before" in result.stdout
    assert journal.read_text().splitlines() == [line.rstrip("\n") for line in lines]

    result = judge("--continue")  # part 2 was never run: its cases are judged now
    assert result.exit_code == 0, result.output
    assert "7 of 10 cases were evaluated before" in result.stdout
    assert content(judge.folder) == content(tmp_path / "one")
    assert {"rows.csv", "summary.json", "reliability.csv", "sizes.csv"} <= content(
        judge.folder
    ).keys()


def test_parts_of_another_evaluation_are_not_joined(judge):
    assert judge("--part", 1, "--parts", 2).exit_code == 0
    result = judge("--continue", "--seed", 7)
    assert result.exit_code == 2
    assert "holds cases of another evaluation (seed was 0, is 7)" in result.stderr
    again = judge("--part", 1, "--parts", 2)
    assert again.exit_code == 2
    assert "holds an unfinished evaluation" in again.stderr and "--continue" in again.stderr
    assert judge("--part", 1, "--parts", 2, "--overwrite").exit_code == 0
    both = judge("--continue", "--overwrite")
    assert both.exit_code == 2 and "give one only" in both.stderr


def test_a_case_that_fails_is_named_and_the_others_are_kept(judge):
    mask = judge.images / "masks" / "case-003.png"
    kept = mask.read_bytes()
    mask.write_bytes(b"cut off")
    result = judge()
    assert result.exit_code == 1
    assert "1 failed" in result.stderr and f"{mask} cannot be read" in result.stderr
    assert not (judge.folder / "rows.csv").exists()
    mask.write_bytes(kept)
    result = judge("--continue")
    assert result.exit_code == 0, result.output
    assert "9 of 10 cases were evaluated before" in result.stdout
    assert not (judge.folder / "parts").exists()
