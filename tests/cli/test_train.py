"""`hidiff train`: a recipe in, models out, and nothing lost on the way."""

import json
import shutil

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

import hidiff as library
from hidiff import experiment
from tests.tiny import skip_counting


@pytest.fixture(autouse=True)
def quick_start(monkeypatch):
    skip_counting(monkeypatch)


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the trained run, at OUTPUT/NAME."""
    return shutil.copytree(trained, tmp_path / "tiny")


def test_a_recipe_becomes_a_model_that_predicts(trained, data):
    image = next((data / "images").iterdir())
    result = library.load(trained).predict(image)
    assert result.labels.shape == (64, 64)


def test_the_end_says_where_the_models_lie_and_what_is_next(hidiff, recipe, tmp_path):
    result = hidiff("train", recipe, "--output", tmp_path, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "best.safetensors, last.safetensors, stage1.safetensors" in result.stdout
    assert f"hidiff evaluate {tmp_path / 'tiny'}" in result.stdout


def test_a_run_is_not_overwritten_unasked(hidiff, recipe, run):
    before = {file: file.read_bytes() for file in run.glob("*.*")}
    result = hidiff("train", recipe, "--output", run.parent)
    assert result.exit_code == 2
    assert "--resume" in result.stderr
    assert before == {file: file.read_bytes() for file in run.glob("*.*")}


def test_overwrite_trains_anew_and_drops_what_was_judged(hidiff, recipe, run):
    (run / "test").mkdir()
    (run / "test" / "rows.csv").write_text("old")
    (run / "notes.txt").write_text("mine")
    words = ("--overwrite", "--device", "cpu", "--set", "seed=1")
    result = hidiff("train", recipe, "--output", run.parent, *words)
    assert result.exit_code == 0, result.output
    assert experiment.load_recipe(run).seed == 1
    assert not (run / "test" / "rows.csv").exists()
    assert (run / "notes.txt").exists()


def test_data_that_is_not_there_removes_nothing(hidiff, recipe, run):
    words = ("--overwrite", "--set", "data.path=/nowhere")
    assert hidiff("train", recipe, "--output", run.parent, *words).exit_code == 2
    assert (run / "best.safetensors").is_file()


def test_overwrite_keeps_the_weights_that_the_run_starts_from(hidiff, recipe, run):
    words = ("--overwrite", "--set", f"segmentor.weights={run / 'stage1.safetensors'}")
    result = hidiff("train", recipe, "--output", run.parent, *words)
    assert result.exit_code == 2
    assert "would remove" in result.stderr
    assert (run / "stage1.safetensors").is_file()


def test_resume_goes_on_and_says_what_differs(hidiff, recipe, run):
    words = ("--resume", "--device", "cpu", "--set", "training.stage2_steps=3")
    result = hidiff("train", recipe, "--output", run.parent, *words)
    assert result.exit_code == 0, result.output
    assert "training.stage2_steps was 2 and is 3" in result.stderr
    assert experiment.open_model(run / "last.safetensors").metadata["step"] == "3"


def test_resume_refuses_another_experiment(hidiff, recipe, run):
    words = ("--resume", "--set", "refiner.width=16")
    result = hidiff("train", recipe, "--output", run.parent, *words)
    assert result.exit_code == 2
    assert "refiner.width was 8, is 16" in result.stderr


def test_resume_and_overwrite_exclude_each_other(hidiff, recipe, run):
    result = hidiff("train", recipe, "--output", run.parent, "--resume", "--overwrite")
    assert result.exit_code == 2
    assert "--resume goes on with a run and --overwrite removes it" in result.stderr


def test_an_interrupted_run_says_how_to_go_on(hidiff, recipe, run, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("hidiff.cli.run.train_experiment", interrupted)
    words = ("--resume", "--set", "training.save_every=5")
    result = hidiff("train", recipe, "--output", run.parent, *words)
    assert result.exit_code == 130
    line = f"hidiff train {recipe} --set training.save_every=5 --output {run.parent} --resume"
    assert line in result.stderr


def test_the_baseline_is_one_setting_away(hidiff, recipe, trained, tmp_path):
    words = ("--set", "training.arm=segmentor_only", "--set")
    weights = f"segmentor.weights={trained / 'stage1.safetensors'}"
    result = hidiff("train", recipe, "--output", tmp_path, *words, weights, "--device", "cpu")
    assert result.exit_code == 0, result.output
    # Its refiner was never trained, so the prior is the answer.
    assert not library.load(tmp_path / "tiny").refines


def test_an_unknown_setting_is_refused_with_the_nearest_name(hidiff, recipe, tmp_path):
    words = ("--set", "training.bach_size=4")
    result = hidiff("train", recipe, "--output", tmp_path, *words)
    assert result.exit_code == 2
    assert "training.bach_size is no setting. Did you mean batch_size?" in result.stderr


def test_check_prints_the_plan_and_trains_nothing(hidiff, recipe, tmp_path):
    result = hidiff("train", recipe, "--output", tmp_path, "--check")
    assert result.exit_code == 0, result.output
    for word in ("validation", "in_turns", "GFLOP", "M parameters"):
        assert word in result.stdout
    assert not list(tmp_path.iterdir())


def test_check_names_every_case_that_does_not_read(hidiff, recipe, data, tmp_path):
    copy = shutil.copytree(data, tmp_path / "data")
    for name in ("case-001", "case-008"):
        (copy / "images" / f"{name}.png").write_bytes(b"cut off")
    result = hidiff("train", recipe, "--check", "--set", f"data.path={copy}")
    assert result.exit_code == 2
    assert "2 of 10 cases do not read" in result.stderr
    assert "case-001.png" in result.stderr
    assert "case-008.png" in result.stderr


def test_folds_take_turns_and_are_averaged(hidiff, recipe, data, tmp_path):
    words = ("--output", tmp_path, "--device", "cpu", "--set", "data.splitting.folds=2")
    for fold in (0, 1):
        result = hidiff("train", recipe, *words, "--fold", fold)
        assert result.exit_code == 0, result.output
    runs = [tmp_path / f"tiny_fold{fold}" for fold in (0, 1)]
    records = [json.loads((run / "splits.json").read_text()) for run in runs]
    first, second = (record["splits"] for record in records)
    assert first["train"] == second["validation"]
    assert first["validation"] == second["train"]
    assert first["test"] == second["test"]
    assert records[0]["sha256"] != records[1]["sha256"]
    image = next((data / "images").iterdir())
    alone = [library.load(run).predict(image).probability for run in runs]
    both = library.load(runs).predict(image)
    assert_allclose(both.probability, np.mean(alone, axis=0), atol=1e-6)
    masks = tmp_path / "masks"
    result = hidiff("predict", tmp_path / "tiny", image, "--folds", "--output", masks)
    assert result.exit_code == 0, result.output
    assert np.array_equal(
        np.asarray(Image.open(next(masks.glob("*_labels.png")))) > 0, both.labels > 0
    )
    judged = hidiff("evaluate", tmp_path / "tiny", "--folds", "--split", "validation")
    assert judged.exit_code == 2
    assert "Evaluate them on test" in judged.stderr
    missing = hidiff("predict", tmp_path / "other", image, "--folds", "--output", masks / "b")
    assert "there is no" in missing.stderr
