"""`hidiff info` tells of the machine and of a model."""

import tomllib
from pathlib import Path

from hidiff._version import __version__
from hidiff.cli.info import EXTRAS


def test_the_machine_is_described(hidiff):
    result = hidiff("info")
    assert result.exit_code == 0
    for word in (__version__, "torch", "kernels", "demo", "recipes"):
        assert word in result.stdout


def test_every_extra_is_known():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert set(EXTRAS) == set(extras) - {"dev"}
    for name, package in EXTRAS.items():
        assert any(line.startswith(package) for line in extras[name])


def test_a_model_is_described(hidiff, trained):
    result = hidiff("info", trained / "last.safetensors")
    assert result.exit_code == 0, result.output
    for word in ("step 2 of stage in_turns", "binary, width 8", "curve", "stage1_steps: 2"):
        assert word in result.stdout
