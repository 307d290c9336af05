"""The arms that take a part of the method away: each trains, is saved, and predicts like any."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

import hidiff
from hidiff import experiment, seeding
from hidiff.cli.app import app
from hidiff.diffusion import normal
from tests.tiny import COSTS, make_tiny, shake

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
SUITE = Path(__file__).parents[1] / "research" / "suites" / "ablation.yaml"
ARMS = ("exchange concatenation", "kind gaussian", "noise uniform", "segmentor joint")


def changes_of(arm):
    """The arm's settings, by group."""
    groups = {}
    for name, value in yaml.safe_load(SUITE.read_text())["arms"][arm].items():
        group, setting = name.split(".")
        groups.setdefault(group, {})[setting] = value
    return groups


def make(folder, arm):
    changes = changes_of(arm)
    training = {"stage1_steps": 1, "stage2_steps": 1, **changes.pop("training", {})}
    return make_tiny(folder, training=training, **changes)


@pytest.fixture(scope="module", params=ARMS)
def trained(request, tmp_path_factory):
    """An arm, its run's folder, and what the run's own networks predict."""
    folder = tmp_path_factory.mktemp("arm")
    recipe = make(folder, request.param)
    trainer = experiment.make_trainer(
        recipe, folder / "run", cpu=True, validate=False, budget=COSTS
    )
    shake(trainer.hybrid)
    shake(trainer.predicting())
    start = {name: value.clone() for name, value in trainer.hybrid.refiner.state_dict().items()}
    trainer.run()
    moved = trainer.hybrid.refiner.state_dict()
    assert any(not torch.equal(moved[name], start[name]) for name in start)
    predictor = experiment.make_predictor(trainer.predicting(), recipe)
    return request.param, folder / "run", predictor.predict(IMAGE, steps=3, samples=2)


def test_a_loaded_model_predicts_as_before_it_was_saved(trained):
    _, run, before = trained
    after = hidiff.load(run).predict(IMAGE, steps=3, samples=2)
    assert np.array_equal(after.probability, before.probability)
    assert np.isfinite(before.probability).all() and before.variance.max() > 0
    assert not np.array_equal(before.probability, before.prior)


def test_what_each_logs_is_finite_and_its_own(trained):
    arm, run, _ = trained
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = rows[-1]
    assert last["stage"] == ("joint" if arm == "segmentor joint" else "in_turns")
    assert ("kl" in last) == (arm != "kind gaussian")
    assert all(np.isfinite(last[name]) for name in ("refiner", "segmentor", "cross_entropy"))


def test_a_packed_model_says_the_same_or_is_refused_in_a_line(trained, tmp_path):
    arm, run, _ = trained
    result = CliRunner().invoke(app, ["pack", str(run), "--output", f"{tmp_path}/p.safetensors"])
    if arm == "exchange concatenation":
        assert result.exit_code == 2
        assert "exchange is concatenation, but only one with a cross transformer" in " ".join(
            result.output.split()
        )
        assert not list(tmp_path.iterdir())
        return
    assert result.exit_code == 0, result.output
    # one step, as a sign within rounding of zero may flip, and every later draw with it
    packed, before = (
        hidiff.load(path).predict(IMAGE, steps=1) for path in (tmp_path / "p.safetensors", run)
    )
    assert (packed.labels == before.labels).mean() > 0.99
    np.testing.assert_allclose(np.median(packed.probability - before.probability), 0, atol=1e-3)


# The Gaussian's draws


@pytest.fixture(scope="module")
def gaussian(tmp_path_factory):
    recipe = make(tmp_path_factory.mktemp("gaussian"), "kind gaussian")
    return experiment.make_predictor(shake(experiment.make_hybrid(recipe)), recipe)


@pytest.mark.parametrize("overlap", [0.0, 0.25])
def test_its_noise_belongs_to_the_pixels_of_the_whole_image(gaussian, overlap):
    image = np.zeros((100, 140, 3), dtype=np.uint8)
    found = gaussian.predict(image, name="eye", steps=1, seed=3, trace=True, overlap=overlap)
    place = {"planes": 1, "top": 0, "left": 0, "height": 100, "width": 140}
    noise = normal(seeding.uniform_window(3, "eye", 0, 0, 4, **place))
    ((t, yt, _),) = found.trace
    assert t == 4
    # drawn as bits: what lies nearer to 1 than to -1
    assert (yt == (noise >= 0).float().numpy()).mean() > 0.9999


def test_at_temperature_0_samples_differ_by_their_first_draw_alone(gaussian):
    def predict(**changes):
        given = {"temperature": 0.0, "steps": 3, **changes}
        return gaussian.predict(IMAGE, name="eye", **given)

    one, again = predict(), predict()
    assert np.array_equal(one.probability, again.probability)
    assert predict(samples=2).variance.max() > 0
    ddim = predict(temperature=1.0, sampler="ddim")
    assert np.array_equal(one.probability, ddim.probability)
