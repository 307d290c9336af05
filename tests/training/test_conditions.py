"""The conditions of a run are written down, and a difference is reported when it goes on."""

import json

import pytest
import torch

from hidiff import experiment, weights
from hidiff.training.conditions import KEY, conditions, differences
from tests.tiny import COSTS, make_tiny

HERE = {"workers": 0, "processes": 1, "device": "cpu"}


def test_equal_conditions_differ_in_nothing():
    assert differences({KEY: json.dumps(conditions(**HERE))}, conditions(**HERE)) == []


def test_every_difference_is_named():
    before = json.dumps(conditions(**HERE) | {"torch": "1.0", "threads": "64"})
    now = conditions(**HERE | {"workers": 2, "processes": 4, "device": "cuda"})
    told = differences({KEY: before}, now)
    assert [line.split()[0] for line in told] == [
        "torch", "threads", "workers", "processes", "device",
    ]  # fmt: skip
    assert told[0] == f"torch was 1.0 and is {torch.__version__}"


def test_a_state_that_says_nothing_differs_in_nothing():
    assert differences({}, conditions(**HERE)) == []


def test_a_run_that_goes_on_under_other_conditions_says_so(tmp_path):
    options = {"cpu": True, "validate": False, "budget": COSTS}
    recipe = make_tiny(tmp_path, training={"stage1_steps": 1, "stage2_steps": 0})
    experiment.train(recipe, tmp_path / "run", **options)
    metadata = weights.load(tmp_path / "run" / "state.safetensors")[1]
    assert json.loads(metadata[KEY])["torch"] == torch.__version__

    longer = recipe.training.model_copy(update={"stage1_steps": 2, "workers": 1})
    recipe = recipe.model_copy(update={"training": longer})
    with pytest.warns(UserWarning, match="workers was 0 and is 1.*not bit for bit"):
        experiment.train(recipe, tmp_path / "run", resume=True, **options)
