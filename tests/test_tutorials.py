"""Every tutorial of docs/tutorials works as printed, block by block, in an empty folder."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIALS = sorted((Path(__file__).parents[1] / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"!\[[^\]]+\]\(([^)]+)\)")


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
    # hidiff serve's usual port may be taken on this machine
    text = page.read_text(encoding="utf-8").replace("1527", str(free_port()))
    blocks = BLOCK.findall(text)
    assert blocks, f"{page.name} has no block to run"
    folder = tmp_path / "work"
    folder.mkdir()
    groups = []
    try:
        for language, code in blocks:
            program = [sys.executable, "-c"] if language == "python" else ["sh", "-ec"]
            done = subprocess.Popen(
                [*program, code], cwd=folder, env=environment, text=True, start_new_session=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            groups.append(done.pid)
            output, _ = done.communicate()
            assert done.returncode == 0, f"{page.name}:\n{code}\n{output}"
        for picture in PICTURE.findall(text):
            assert (page.parent / picture).is_file(), f"{page.name} shows {picture}"
    finally:
        for group in groups:  # a server that a block started, if a later block failed
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_there_is_a_tutorial():
    assert TUTORIALS
