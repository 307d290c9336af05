"""The command `hidiff benchmark`; tests/suites tests what it does."""

from pathlib import Path

SUITES = Path(__file__).parents[2] / "research" / "suites"


def test_a_suite_lists_its_runs_without_data(hidiff):
    listed = hidiff("benchmark", SUITES / "main.yaml", "--list")
    assert listed.exit_code == 0, listed.output
    lines = listed.stdout.splitlines()
    # one seed of six recipes in four arms, two more seeds of two of them, one more of a third
    assert len(lines) == 4 * (6 + 2 * 2 + 1)
    assert lines[0] == "DRIVE, stage1, seed 0: evaluated on test"


def test_a_name_that_is_no_file_is_refused_in_one_line(hidiff):
    refused = hidiff("benchmark", "main")
    assert refused.exit_code == 2
    assert "no suite at main" in refused.stderr
    assert "research/suites/main.yaml" in refused.stderr
