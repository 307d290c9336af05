"""The examples of docs/sharing.md run as they stand, by tiny models that bear the names there."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import config
from PIL import Image
from typer.testing import CliRunner

import hidiff
from hidiff.cli.app import app
from tests.experiment.test_model import save_model
from tests.models.hub_server import stand_in
from tests.test_monai import save_refiner

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "sharing.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="an sdist has no docs")


def examples(heading, language=""):
    """Return the blocks of a language below a heading."""
    (section,) = re.findall(
        rf"^##+ {heading}\n(.*?)(?=^##|\Z)", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return re.findall(rf"^```{language}\n(.*?)```", section, re.DOTALL | re.MULTILINE)


def run_lines(block, monkeypatch):
    """Run the commands of a block, and return what they printed."""
    said = ""
    for line in block.splitlines():
        program, *words = shlex.split(line, comments=True)
        if program == "hidiff":
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 0, f"{line}: {result.output}"
            said += result.output
        else:
            assert program == "python"
            monkeypatch.setattr(sys, "argv", words)
            runpy.run_path(words[0])
    return said


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the models of the page, and an image."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "examples").symlink_to(ROOT / "examples")
    recipes = {"vessels": {}, "runs/drive": {}, "nodules": {"diffusion": {"num_steps": 10}}}
    for name, changes in recipes.items():
        (folder / name).mkdir(parents=True)
        save_model(folder / name, **changes).rename(folder / name / "best.safetensors")
    (folder / "runs/refiner").mkdir()
    save_refiner(folder / "runs/refiner").rename(folder / "runs/refiner/best.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    (folder / "eyes").mkdir()
    for name in ("eye.jpg", "eyes/eye.png"):
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.fixture
def unchecked():
    """Export without the checks of shapes: the sizes of what is traced are tensors."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


def test_the_hub_s_commands_push_and_fetch(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(saved)
    commands, python = examples("Hugging Face hub")[0], examples("Hugging Face hub", "python")[0]
    first, *others = commands.splitlines(keepends=True)
    with stand_in(monkeypatch, tmp_path / "cache") as server:
        run_lines(first, monkeypatch)
        files = server.repositories["USER/drive"]
        assert "cc-by-4.0" in files["README.md"].decode()
        server.branches["USER/drive"] = {"v1": files, server.commit(files): files}
        said = run_lines("".join(others), monkeypatch)
        assert "tiny" in said
        exec(python, {})
    written = np.asarray(Image.open("masks/eye_labels.png")) > 0
    truth = hidiff.load("runs/drive").predict("eyes/eye.png").labels
    assert 0 < truth.mean() < 1 and np.array_equal(written, truth > 0)
    assert len(list(Path("folder").iterdir())) == 3


def test_the_onnx_commands_and_several_steps(saved, monkeypatch, unchecked):
    pytest.importorskip("onnxruntime", reason="it comes with the extra onnx")
    monkeypatch.chdir(saved)
    run_lines(examples("ONNX")[0], monkeypatch)
    mask = np.asarray(Image.open("mask.png"))
    truth = hidiff.load("vessels").predict("eye.jpg", window_size=(64, 96)).labels
    assert 0 < truth.mean() < 1
    assert ((mask > 0) == (truth > 0)).mean() >= 0.999
    text = PAGE.read_text("utf-8")
    assert re.search(r"`(hidiff export nodules --steps 5)` writes two files", text)
    run_lines("hidiff export nodules --steps 5", monkeypatch)
    names = {"image": torch.rand(1, 3, 64, 64).numpy() * 2 - 1}
    (block,) = examples("Several steps", "python")
    exec(block, names)
    assert names["steps"] == [10, 8, 6, 4, 2]
    probability, samples = names["probability"], names["samples"]
    assert probability.shape == (1, 1, 64, 64) and 0 <= probability.min() < probability.max() <= 1
    assert len(samples) == 4 and not np.array_equal(samples[0], samples[1])


def test_openvino_s_lines(saved, monkeypatch, unchecked):
    pytest.importorskip("openvino", reason="it comes with the extra openvino")
    monkeypatch.chdir(saved)
    if not Path("vessels.onnx").is_file():
        run_lines("hidiff export vessels", monkeypatch)
    (block,) = examples("ONNX", "python")
    *_, last = block.splitlines()
    names = {"image": torch.rand(1, 3, 64, 64).numpy() * 2 - 1}
    exec(block.replace(last, f"labels = {last}"), names)
    assert names["labels"].shape == (1, 64, 64)


def test_monai_s_lines(saved, monkeypatch):
    monkeypatch.chdir(saved)
    compose, inferer = examples("MONAI", "python")
    *_, last = compose.splitlines()
    names = {}
    exec(compose.replace(last, f"labels = {last}"), names)
    truth = hidiff.load("vessels").predict("eye.jpg").labels
    assert np.array_equal(names["labels"][0].numpy().T, truth)
    weight = torch.randn(1, 3, 1, 1) / 100
    names = {
        "images": torch.randint(0, 256, (1, 3, 96, 96)).float(),
        "network": lambda x: torch.nn.functional.conv2d(x, weight),
    }
    exec(inferer, names)
    assert names["probability"].shape == (1, 1, 96, 96)
    prior = names["network"](names["images"]).sigmoid()
    assert not torch.allclose(names["probability"], prior)
