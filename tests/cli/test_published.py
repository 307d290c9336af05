"""`hidiff import-published`: what became of each tensor is said, and the refiner can be read."""

import json

import pytest
import torch

from hidiff import weights
from hidiff.refiner import Refiner, RefinerSettings
from tests.refiner.published_checkpoint import checkpoint


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "model.pt"
    torch.save(checkpoint(), path)
    return path


def test_a_published_refiner_is_written_and_can_be_rebuilt(hidiff, published, tmp_path):
    out = tmp_path / "refiner.safetensors"
    result = hidiff("import-published", published, "--output", out)
    assert result.exit_code == 0, result.output
    assert "mapped" in result.stdout
    assert "dropped" in result.stdout
    tensors, metadata = weights.load(out)
    settings = RefinerSettings.model_validate_json(metadata["settings"])
    shape = json.loads(metadata["shape"])
    refiner = Refiner(**shape, settings=settings)
    refiner.load_state_dict(tensors)


def test_a_file_in_the_way_is_kept(hidiff, published, tmp_path):
    out = tmp_path / "refiner.safetensors"
    out.write_text("mine")
    assert hidiff("import-published", published, "--output", out).exit_code == 2
    assert out.read_text() == "mine"


@pytest.mark.parametrize("name", ["refiner.pt", "refiner"])
def test_only_safetensors_are_written(hidiff, published, tmp_path, name):
    result = hidiff("import-published", published, "--output", tmp_path / name)
    assert result.exit_code == 2
    assert ".safetensors" in result.stderr


def test_another_file_is_refused(hidiff, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"no checkpoint")
    result = hidiff(
        "import-published", tmp_path / "model.pt", "--output", tmp_path / "a.safetensors"
    )
    assert result.exit_code == 2
    assert str(tmp_path / "model.pt") in result.stderr
    assert not (tmp_path / "a.safetensors").exists()
