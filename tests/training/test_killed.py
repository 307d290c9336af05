"""A run stopped or killed at random moments, resumed, and equal to one that nothing stopped."""

import json
import multiprocessing
import os
import random
import signal
import time

import pytest

from hidiff import experiment, weights
from hidiff.training import Trainer, TrainingStopped, state
from tests.tiny import COSTS, make_tiny, same_tensors

STEPS = 4
TRAINING = {"stage1_steps": STEPS, "stage2_steps": STEPS, "save_every": 1, "validate_every": 4}
ENDED = 60.0  # seconds, after which a child that does nothing is taken for hung


def child(recipe, folder):
    """A process of its own that goes on with the run."""
    process = multiprocessing.get_context("fork").Process(
        target=experiment.train,
        args=(recipe, folder),
        kwargs={"resume": True, "cpu": True, "budget": COSTS},
    )
    process.start()
    return process


def rows(folder):
    """The rows so far without their times; the last may be half-written."""
    try:
        lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found]


def kill_after(process, folder, num_rows):
    """SIGKILL at a random moment once the run has come so far."""
    deadline = time.monotonic() + ENDED
    while len(rows(folder)) < num_rows and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(random.uniform(0, 0.3))
    process.kill()
    process.join()
    assert process.exitcode == -9


@pytest.fixture
def recipe(tmp_path):
    return make_tiny(tmp_path, training=TRAINING, prediction={"steps": 1})


def test_a_run_killed_three_times_equals_one_that_never_was(recipe, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = child(recipe, whole)
    process.join()
    assert process.exitcode == 0
    num_rows = len(rows(whole))
    for share in (0.15, 0.4, 0.7):
        kill_after(child(recipe, killed), killed, round(share * num_rows))
        for file in killed.glob("[!.]*.safetensors"):
            weights.load(file)  # raises if it is not whole
    process = child(recipe, killed)
    process.join()
    assert process.exitcode == 0

    assert_same_run(whole, killed)


def assert_same_run(whole, killed):
    names = {file.name for file in whole.iterdir() if file.is_file()}
    assert {file.name for file in killed.iterdir() if file.is_file()} == names
    for name in names - {state.FORMER_STATE_FILE}:  # which depends on the number of checkpoints
        if name.endswith(".safetensors"):
            assert same_tensors(weights.load(killed / name)[0], weights.load(whole / name)[0]), name
    assert rows(killed) == rows(whole)


def terminated(recipe, folder):
    """A run that gets SIGTERM in its second validation, and once more in a step."""
    evaluate, step = experiment.training.evaluate, Trainer.step
    calls = []

    def slow(*args, **kwargs):
        calls.append("validation")
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(ENDED)  # a long validation: it must be left at once
        return evaluate(*args, **kwargs)

    def stopped(self, *args):
        losses = step(self, *args)
        if not (folder / "state.safetensors").is_file():
            os.kill(os.getpid(), signal.SIGTERM)
        return losses

    experiment.training.evaluate, Trainer.step = slow, stopped
    try:
        experiment.train(recipe, folder, resume=True, cpu=True, budget=COSTS)
    except TrainingStopped as error:
        print(error)
        os._exit(143)
    os._exit(0)


def test_sigterm_saves_and_ends_and_nothing_is_lost(tmp_path):
    # no checkpoint but those that SIGTERM, and the end of a stage, bring
    training = {**TRAINING, "save_every": 1000, "validate_every": 2}
    recipe = make_tiny(tmp_path, training=training, prediction={"steps": 1})
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    process = child(recipe, whole)
    process.join()
    codes = []
    for _ in range(8):
        process = multiprocessing.get_context("fork").Process(
            target=terminated, args=(recipe, stopped)
        )
        process.start()
        process.join(ENDED / 2)
        codes.append(process.exitcode)
        assert process.exitcode in (0, 143), codes
        assert state.read_progress(stopped / "state.safetensors")[0].step > 0
        if process.exitcode == 0:
            break
    assert codes[0] == 143 and codes[-1] == 0 and len(codes) > 2
    assert_same_run(whole, stopped)
