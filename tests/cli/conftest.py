"""A tiny data set, its recipe, and a model trained on it in a few steps."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

# hidiff is imported in the fixtures only: see tests/conftest.py.

RECIPE = """
name: tiny
data: {{source: folder, path: '{data}', patch_size: [64, 64]}}
labels: {{kind: one_class, classes: {{curve: [1]}}}}
segmentor: {{options: {{width: 8}}}}
refiner: {{width: 8}}
diffusion: {{num_steps: 3}}
training: {{batch_size: 2, stage1_steps: 2, stage2_steps: 2, save_every: 1}}
"""

Command = Callable[..., Result]


def run_command(*words: object) -> Result:
    from hidiff.cli import app

    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def hidiff() -> Command:
    """Runs the command in this process; the result has exit_code, stdout and stderr."""
    return run_command


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six training, two validation and two test images of 64x64, with lists."""
    from hidiff.datasets import write_synthetic

    folder = tmp_path_factory.mktemp("data") / "curves"
    write_synthetic(folder, num_cases=10, size=64)
    return folder


@pytest.fixture(scope="session")
def recipe(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    file.write_text(RECIPE.format(data=data))
    return file


@pytest.fixture(scope="session")
def trained(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trained run; copy it before changing anything in it."""
    from tests.tiny import skip_counting

    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        skip_counting(patch)
        result = run_command("train", recipe, "--output", runs, "--device", "cpu")
    assert result.exit_code == 0, result.output
    return runs / "tiny"
