"""The command as a whole: help, version, how quickly it answers."""

import resource
import subprocess
import sys

import pytest

from hidiff._version import __version__

COMMANDS = [
    "demo", "train", "predict", "evaluate", "benchmark", "results", "models", "info", "settings",
    "import-published",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_help_and_has_its_own(hidiff, command):
    assert command in hidiff("--help").stdout
    own = hidiff(command, "--help")
    assert own.exit_code == 0
    assert "Usage:" in own.stdout


def test_the_version_is_the_packages(hidiff):
    assert hidiff("--version").stdout == f"hidiff {__version__}\n"


def test_help_takes_less_than_half_a_second_of_processor_time():
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "hidiff", "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5


def test_an_unknown_option_is_bad_usage(hidiff):
    result = hidiff("info", "--colour")
    assert result.exit_code == 2
    assert "No such option: --colour" in result.stderr
