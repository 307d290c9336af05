"""`hidiff benchmark` and `hidiff results` as commands; tests/suites has what they do."""


def test_a_suite_lists_its_runs_without_data(hidiff):
    listed = hidiff("benchmark", "main", "--list")
    assert listed.exit_code == 0, listed.output
    lines = listed.stdout.splitlines()
    # one seed of six recipes in four arms, two more seeds of two of them, one more of a third
    assert len(lines) == 4 * (6 + 2 * 2 + 1)
    assert lines[0] == "DRIVE, stage1, seed 0: judged on test"


def test_an_unknown_suite_ends_in_one_line(hidiff):
    told = hidiff("benchmark", "mian")
    assert told.exit_code == 2
    assert "no suite at mian" in told.stderr and "main" in told.stderr


def test_a_page_of_nothing_is_refused(hidiff, tmp_path):
    told = hidiff("results", "--results", tmp_path, "--page", tmp_path / "page.md")
    assert told.exit_code == 2
    assert "holds no rows of a suite" in told.stderr
    assert not (tmp_path / "page.md").exists()
