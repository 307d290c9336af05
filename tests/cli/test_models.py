"""Models that come with HiDiff, on the command line: by name, and saying what they are."""

import json

import numpy as np
import pytest
from PIL import Image

from hidiff.models import shipped_models

SHIPPED = shipped_models()


def test_they_are_listed_with_their_scores(hidiff):
    result = hidiff("models")
    assert result.exit_code == 0, result.output
    assert "none of them is a medical device" in result.stdout
    for name, model in SHIPPED.items():
        assert name in result.stdout
        dice = model.facts["tests"][0]["metrics"]["dice"]["refined"]["mean"]
        assert f"{dice:.3f}" in result.stdout
    assert all(name in hidiff("info").stdout for name in SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_info_tells_notice_scores_and_card(hidiff, name):
    result = hidiff("info", name)
    assert result.exit_code == 0, result.output
    model = SHIPPED[name]
    for words in (model.facts["notice"], str(model.card), "Dice 0."):
        assert words in result.stdout


def test_a_prediction_says_whose_data_it_rests_on(hidiff, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((70, 90), 90, np.uint8)).save("crop.png")
    result = hidiff("predict", "nodules", "crop.png", "--steps", "1")
    assert result.exit_code == 0, result.output
    assert SHIPPED["nodules"].facts["notice"] in result.stdout
    with Image.open(tmp_path / "masks" / "crop_labels.png") as mask:
        assert mask.size == (90, 70)


def test_a_model_of_ones_own_has_nothing_to_say(hidiff, trained, data, tmp_path):
    image = sorted((data / "images").iterdir())[0]
    result = hidiff("predict", trained, image, "--output", tmp_path, "--steps", "1")
    assert "1 of 1 images are done" in result.stdout
    assert "research" not in result.output


def test_it_is_judged_on_data_of_ones_own(hidiff, tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
        for number in (1, 2):
            pixels = np.zeros((64, 64), np.uint8)
            pixels[20:40, 20:40] = 255
            Image.fromarray(pixels).save(tmp_path / "mine" / kind / f"{number}.png")
    words = ("evaluate", "nodules", "--data", tmp_path / "mine", "--no-report", "--steps", "1")
    without = hidiff(*words)
    assert without.exit_code == 2
    assert "--output" in without.stderr
    result = hidiff(*words, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["num_cases"] == 2


def test_an_unknown_name_lists_those_there_are(hidiff, tmp_path):
    Image.new("L", (64, 64)).save(tmp_path / "a.png")
    result = hidiff("predict", "nodule", tmp_path / "a.png", "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert ", ".join(SHIPPED) in " ".join(result.stderr.split())


def test_it_is_not_packed_again(hidiff, tmp_path):
    result = hidiff("pack", "nodules", "--output", tmp_path / "a.safetensors")
    assert result.exit_code == 2
    assert "is packed already" in result.stderr
