"""`hidiff train FOLDER`, end to end: whatever the volumes are like, the proposed recipe runs."""

import json
import shutil

import numpy as np
import pytest

from tests.nnunet_sets import write_nnunet
from tests.tiny import skip_counting

# rows, columns and slices of each of four cases; mm
VOLUMES = {
    "ordinary": (((40, 32, 3),) * 4, (1.5, 1.5, 8.0)),
    "one_slice": (((40, 32, 1),) * 4, (1.0, 1.0, 1.0)),
    "tiny": (((3, 5, 2), (5, 3, 4), (4, 4, 4), (6, 3, 3)), (1.0, 1.0, 1.0)),
    "anisotropic": (((6, 40, 48),) * 4, (6.0, 1.0, 0.7)),
    "of_many_sizes": (((70, 40, 2), (33, 65, 5), (40, 40, 1), (20, 90, 3)), (0.8, 0.8, 3.0)),
}
# Networks and a length for which no machine is too small.
SMALL = (
    "segmentor.options.width=8",
    "refiner.width=8",
    "diffusion.num_steps=3",
    "prediction.steps=1",
    "training.batch_size=2",
    "training.stage1_steps=1",
    "training.stage2_steps=1",
    "training.workers=0",
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    skip_counting(monkeypatch)


def small():
    return [word for change in SMALL for word in ("--set", change)]


@pytest.mark.parametrize("kind", VOLUMES)
def test_every_proposed_recipe_holds(hidiff, tmp_path, kind):
    shapes, spacing_mm = VOLUMES[kind]
    root = write_nnunet(tmp_path / "Dataset001_Heart", shapes=shapes, spacing_mm=spacing_mm)
    result = hidiff("train", root, "--check", *small(), "--output", tmp_path)
    assert result.exit_code == 0, result.output
    assert "The recipe holds and every case reads" in result.stdout


def test_a_folder_is_trained_and_predicted_with_one_command_each(hidiff, tmp_path):
    import nibabel as nib

    root = write_nnunet(tmp_path / "Dataset001_Heart")
    write_nnunet(root, part="Ts", shapes=((40, 32, 3), (20, 24, 1)))
    result = hidiff("train", root, "--output", tmp_path / "runs", "--device", "cpu", *small())
    assert result.exit_code == 0, result.output
    assert "Plan for" in result.stdout and "because" in result.stdout
    run = tmp_path / "runs" / "Dataset001_Heart"
    assert {"best.safetensors", "recipe.yaml"} <= {file.name for file in run.iterdir()}

    out = tmp_path / "masks"
    result = hidiff("predict", run, root / "imagesTs", "--output", out, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert sorted(file.name for file in out.iterdir()) == ["q0.nii.gz", "q1.nii.gz"]
    for name in ("q0", "q1"):
        ours, theirs = nib.load(out / f"{name}.nii.gz"), nib.load(root / f"labelsTs/{name}.nii.gz")
        assert ours.shape == theirs.shape
        np.testing.assert_array_equal(ours.affine, theirs.affine)
        assert set(np.unique(ours.dataobj)) <= {0, 1, 2}


def test_a_folder_of_volumes_is_trained_too(hidiff, tmp_path):
    root = write_nnunet(tmp_path / "made")
    mine = tmp_path / "mine"
    shutil.copytree(root / "labelsTr", mine / "masks")
    (mine / "images").mkdir()
    for file in (root / "imagesTr").iterdir():
        shutil.copy(file, mine / "images" / file.name.replace("_0000", ""))
    result = hidiff("train", mine, "--output", tmp_path / "runs", "--device", "cpu", *small())
    assert result.exit_code == 0, result.output
    splits = json.loads((tmp_path / "runs/mine/splits.json").read_text())["splits"]
    assert set(splits) >= {"train", "validation"}


def test_the_plan_shows_what_will_run(hidiff, data, tmp_path):
    changes = ("training.stage1_steps=120", "data.patch_size=[96, 96]", "seed=7")
    words = [word for change in changes for word in ("--set", change)]
    result = hidiff("train", data, "--recipe-only", *words, "--output", tmp_path)
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.replace("│", " ").split()) for line in result.stdout.splitlines()]
    assert any(line.startswith("training 120 + ") and "set on the" in line for line in lines), lines
    assert any(line.startswith("patch_size 96 x 96 set on") for line in lines), lines
    assert any(line.startswith("seed 7 set on") for line in lines), lines


def test_a_recipe_that_cannot_run_is_not_written(hidiff, data, tmp_path):
    words = ["train", data, "--recipe-only", "--output", tmp_path / "runs"]
    words += ["--set", "segmentor={name: files, options: {}}", "--set", "training.segmentor=frozen"]
    result = hidiff(*words)
    assert result.exit_code == 2
    assert "holds no prior of case-" in result.stderr
    assert not (tmp_path / "runs").exists()
