"""Threads that wait spin briefly, and a user's own choice comes first."""

import os
import subprocess
import sys

import pytest

from hidiff.cli.threads import SPINS, wait_briefly


@pytest.mark.parametrize(
    ("environment", "spins"),
    [
        ({}, SPINS),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, None),
    ],
)
def test_a_wait_that_the_user_chose_is_left_alone(environment, spins):
    wait_briefly(environment)
    assert environment.get("GOMP_SPINCOUNT") == spins


def test_a_command_waits_briefly_before_torch_is_imported():
    code = (
        "import os, sys\n"
        "from hidiff.cli.app import main\n"
        "sys.argv = ['hidiff', '--version']\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)\n"
    )
    mine = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {key: value for key, value in os.environ.items() if key not in mine}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == f"{SPINS} False"
