"""`hidiff data check`: a report to read, JSON for machines, and an exit code that says it all."""

import json
import shutil

import pytest


@pytest.fixture
def copy(data, tmp_path):
    return shutil.copytree(data, tmp_path / "data")


def test_a_good_folder_ends_with_go(hidiff, data):
    result = hidiff("data", "check", data)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "go"
    for word in ("validation", "64x64 (10)", "uint8", "one_class"):
        assert word in result.stdout


def test_a_recipe_says_how_its_masks_are_read(hidiff, recipe):
    result = hidiff("data", "check", recipe)
    assert result.exit_code == 0, result.output
    assert "10 masks at their word: 1 is curve" in result.stdout


def test_a_bad_file_is_no_go_and_named(hidiff, copy):
    (copy / "images" / "case-001.png").write_bytes(b"cut off")
    result = hidiff("data", "check", copy)
    assert result.exit_code == 1
    assert "case-001.png cannot be read" in result.stdout
    assert result.stdout.splitlines()[-1] == "no go: 1 thing to correct first"


def test_json_goes_to_stdout_or_a_file(hidiff, copy, tmp_path):
    (copy / "masks" / "case-001.png").unlink()
    result = hidiff("data", "check", copy, "--json", "-")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["go"] is False
    assert found["findings"][0]["files"] == ["case-001.png"]
    result = hidiff("data", "check", copy, "--json", tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == found
    assert "no go" in result.stdout


def test_a_recipe_that_asks_for_too_much_memory_is_no_go(hidiff, recipe):
    result = hidiff("data", "check", recipe, "--set", "training.batch_size=1000000")
    assert result.exit_code == 1
    assert "needs at least" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "nowhere"),
        ((), "Missing argument"),
        (("{data}", "--set", "name=x"), "--set changes a recipe, and this is a folder"),
    ],
)
def test_a_wrong_command_is_told_what_is_wrong(hidiff, data, words, message):
    result = hidiff("data", "check", *(word.format(data=data) for word in words))
    assert result.exit_code == 2
    assert message in result.stderr
