"""The command as a whole: help, version, how quickly it answers."""

import pytest

from hidiff._version import __version__

COMMANDS = [
    "demo", "train", "predict", "evaluate", "benchmark", "models", "info", "settings",
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


def test_an_unknown_option_is_bad_usage(hidiff):
    result = hidiff("info", "--colour")
    assert result.exit_code == 2
    assert "No such option: --colour" in result.stderr
