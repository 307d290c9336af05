"""The examples of docs/python.md run from top to bottom, as a reader would type them."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from tests.experiment.test_model import save_model

PAGE = Path(__file__).parents[1] / "docs" / "python.md"


def test_every_example_of_the_page_runs(tmp_path, monkeypatch):
    folder = tmp_path / "made"
    folder.mkdir()
    data = {"channels": 1, "intensity": {"kind": "zscore"}}
    model = save_model(folder, data=data)
    model.rename(tmp_path / "scans.safetensors")
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 94, 3), np.uint8)).save(
        "eye.jpg"
    )
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 7
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert (tmp_path / "masks" / "eye_labels.png").is_file()
    assert (tmp_path / "masks" / "patient.nii.gz").is_file()
