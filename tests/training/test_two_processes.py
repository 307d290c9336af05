"""Two processes are one with the whole batch; one that dies takes the run with it, and says why."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from hidiff import weights
from tests.tiny import same_tensors
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


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder of two processes that trained to the end."""
    folder = tmp_path_factory.mktemp("trained")
    result = run_two(folder, "train")
    assert result.returncode == 0, result.stderr[-3000:]
    return folder


def test_two_processes_train_the_model_of_one_with_the_whole_batch(trained):
    trainer = make_trainer(trained, trained / "one")
    start = {f"segmentor.{k}": v.clone() for k, v in trainer.hybrid.segmentor.state_dict().items()}
    trainer.run()
    names = {file.name for file in (trained / "one").glob("*.safetensors")}
    assert names == {file.name for file in (trained / "two").glob("*.safetensors")}
    for name in ("stage1", "last"):
        one, two = (weights.load(trained / n / f"{name}.safetensors")[0] for n in ("one", "two"))
        # where a gradient is next to nothing, AdamW makes a step of the rate out of rounding
        close = [torch.isclose(one[k], two[k], rtol=1e-4, atol=1e-5).float().mean() for k in one]
        assert torch.stack(close).mean() > 0.99
        assert_close(two, one, rtol=0, atol=5 * RATE)
        moved = [(one[k] - start[k]).abs().max() for k in start]
        assert max(moved) > RATE


def test_with_batch_norm_too_both_hold_one_model_and_the_first_alone_writes(trained):
    (first, first_words), (second, second_words) = (
        weights.load(trained / f"rank{rank}.safetensors") for rank in range(2)
    )
    assert same_tensors(first, second)
    assert (first_words["silent"], second_words["silent"]) == ("False", "True")
    lines = (trained / "normed" / "metrics.jsonl").read_text().splitlines()
    steps = [row["step"] for row in map(json.loads, lines) if row["kind"] == "train"]
    assert steps == [1, 2, 1, 2, 3]  # of both stages, once each
    written, _ = weights.load(trained / "normed" / "last.safetensors")
    ours = {name: value for name, value in first.items() if name.startswith("segmentor.")}
    assert same_tensors(ours, {name: written[name] for name in ours})


@pytest.mark.parametrize(("how", "said"), [("raise", OWN_ERROR), ("kill", "Signal 9 (SIGKILL)")])
def test_a_process_that_dies_ends_the_run_with_its_own_error(tmp_path, how, said):
    result = run_two(tmp_path, how)
    assert result.returncode != 0
    assert said in result.stderr
    assert not (tmp_path / "two" / "last.safetensors").exists()
