"""The examples for many machines, run on one: a loop stands for the scheduler."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
PARTS = 2
MODEL = "nodules"  # the quicker one

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="an sdist has no examples")


@pytest.fixture
def studies(tmp_path):
    """A folder with three small images, and a program `hidiff` first in the PATH."""
    images = tmp_path / "studies" / "images"
    images.mkdir(parents=True)
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"eye{number}.png")
    program = tmp_path / "bin" / "hidiff"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m hidiff "$@"\n')
    program.chmod(0o755)
    return images.parent


def run(words, studies, **variables):
    path = f"{studies.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, **variables}
    done = subprocess.run(
        [str(word) for word in words], cwd=studies, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def content(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def masks_of_one_run(studies):
    run(["hidiff", "predict", MODEL, "images", "--output", "one", "--threads", "2"], studies)
    return content(studies / "one")


def test_the_slurm_array_does_all_images(studies):
    script = EXAMPLES / "slurm_predict.sh"
    for task in range(1, PARTS + 1):
        variables = {"SLURM_ARRAY_TASK_ID": str(task), "PARTS": str(PARTS)}
        said = run(["bash", script, MODEL, "images", "masks"], studies, **variables)
        assert f"of part {task} of {PARTS} are done" in said
    assert content(studies / "masks") == masks_of_one_run(studies)


def test_the_kubernetes_job_does_all_images(studies):
    job = yaml.safe_load((EXAMPLES / "kubernetes_predict.yaml").read_text())["spec"]
    (container,) = job["template"]["spec"]["containers"]
    (line,) = container["args"]
    parts = f"--parts {job['completions']}"
    assert parts in line and job["parallelism"] == job["completions"]
    line = line.replace(parts, f"--parts {PARTS}").replace("vessels", MODEL)
    for index in range(PARTS):
        run([*container["command"], line], studies, JOB_COMPLETION_INDEX=str(index))
    assert content(studies / "masks") == masks_of_one_run(studies)
