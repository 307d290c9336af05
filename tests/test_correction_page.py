"""The examples of docs/correction.md run from top to bottom, as a reader would type them."""

import json
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.correction.models import make_image, make_model, make_volume, save_networks

PAGE = Path(__file__).parents[1] / "docs" / "correction.md"
LABELS = {
    "polyps": {"kind": "one_class", "classes": {"polyp": [255]}},
    "heart": {"kind": "exclusive", "classes": {"rv": [1], "myo": [2], "lv": [3]}},
}


@pytest.mark.filterwarnings("ignore:this m")
def test_every_example_of_the_page_runs(tmp_path, monkeypatch):
    from hidiff.cli import app

    monkeypatch.chdir(tmp_path)
    for name, labels in LABELS.items():
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        save_networks(run / "best.safetensors", *make_model(tmp_path, labels=labels))
    eye = np.stack([make_image((500, 700), seed) for seed in range(3)], axis=-1)
    Image.fromarray(eye).save("eye.jpg")
    Image.fromarray(make_image()).save("frame.png")
    Image.fromarray((make_image(seed=1) > 250).astype(np.uint8) * 255).save("frame_mask.png")
    volume = make_volume(5, (64, 64)).transpose(2, 1, 0)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([-1.0, 1.0, 8.0, 1.0])), "heart.nii.gz")
    blocks = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert [kind for kind, _ in blocks] == ["python"] * 5 + ["json", "sh"]
    names: dict = {}
    for kind, block in blocks:
        if kind == "python":
            exec(compile(block, str(PAGE), "exec"), names)
        elif kind == "json":
            assert len(json.loads(block)) == 4
            Path("marks.json").write_text(block)
        else:
            done = CliRunner().invoke(app, block.split()[1:])
            assert done.exit_code == 0, done.output
    assert {path.name for path in Path("masks").iterdir()} >= {"eye_labels.png", "heart.nii.gz"}
    for folder, name in (("corrected", "frame_labels.png"), ("corrected", "eye_labels.png")):
        assert Path(folder, name).is_file()
    with Image.open("masks/eye_labels.png") as labels:
        assert np.asarray(labels)[407, 641] > 0
