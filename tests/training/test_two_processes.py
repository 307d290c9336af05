"""Two processes are one with the whole batch; one that dies takes the run with it, and says why."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from hidiff import weights
from tests.training.two_processes import OWN_ERROR, make_recipe, make_trainer

ROOT = Path(__file__).parents[2]
RATE = 1e-3  # of one step


def run_two(folder, how):
    """Two processes under gloo, from making the data to the end."""
    make_recipe(folder)  # writes the images, once
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    return subprocess.run(
        [sys.executable, *words, "-m", "tests.training.two_processes", str(folder), how],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
    )


def test_two_processes_train_the_model_of_one_with_the_whole_batch(tmp_path):
    result = run_two(tmp_path, "train")
    assert result.returncode == 0, result.stderr[-3000:]
    trainer = make_trainer(tmp_path, tmp_path / "one")
    start = {f"segmentor.{k}": v.clone() for k, v in trainer.hybrid.segmentor.state_dict().items()}
    trainer.run()
    names = {file.name for file in (tmp_path / "one").glob("*.safetensors")}
    assert names == {file.name for file in (tmp_path / "two").glob("*.safetensors")}
    for name in ("stage1", "last"):
        one, two = (weights.load(tmp_path / n / f"{name}.safetensors")[0] for n in ("one", "two"))
        # where a gradient is next to nothing, AdamW makes a step of the rate out of rounding
        close = [torch.isclose(one[k], two[k], rtol=1e-4, atol=1e-5).float().mean() for k in one]
        assert torch.stack(close).mean() > 0.99
        assert_close(two, one, rtol=0, atol=5 * RATE)
        moved = [(one[k] - start[k]).abs().max() for k in start]
        assert max(moved) > RATE


@pytest.mark.parametrize(("how", "said"), [("raise", OWN_ERROR), ("kill", "Signal 9 (SIGKILL)")])
def test_a_process_that_dies_ends_the_run_with_its_own_error(tmp_path, how, said):
    result = run_two(tmp_path, how)
    assert result.returncode != 0
    assert said in result.stderr
    assert not (tmp_path / "two" / "last.safetensors").exists()
