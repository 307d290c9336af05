"""Every tutorial of docs/tutorials works as printed, block by block, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIALS = sorted((Path(__file__).parents[1] / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def environment(tmp_path):
    """Return an environment whose `hidiff` and `python` are those that run this test."""
    programs = tmp_path / "programs"
    programs.mkdir()
    hidiff = programs / "hidiff"
    hidiff.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hidiff "$@"\n')
    hidiff.chmod(0o755)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs_as_printed(page, tmp_path, environment):
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks, f"{page.name} has no block to run"
    folder = tmp_path / "work"
    folder.mkdir()
    for language, code in blocks:
        program = [sys.executable, "-c"] if language == "python" else ["sh", "-ec"]
        done = subprocess.run(
            [*program, code], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{page.name}:\n{code}\n{done.stdout}{done.stderr}"


def test_there_is_a_tutorial():
    assert TUTORIALS
