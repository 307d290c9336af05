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


SECONDS = (6.0, 12.0)  # of a step of the first and of the second stage


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    from hidiff.experiment import duration
    from hidiff.training.stages import STAGE1, stage2_of

    skip_counting(monkeypatch)
    monkeypatch.setattr(
        duration,
        "time_steps",
        lambda hybrid, patch, settings: dict(
            zip((STAGE1, stage2_of(settings)), SECONDS, strict=True)
        ),
    )


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
    changes = (
        "training.stage1_steps=120",
        "training.stage2_steps=60",
        "data.patch_size=[96, 96]",
        "seed=7",
    )
    words = [word for change in changes for word in ("--set", change)]
    result = hidiff("train", data, "--recipe-only", *words, "--output", tmp_path)
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.replace("│", " ").split()) for line in result.stdout.splitlines()]
    assert any(line.startswith("training 120 + ") and "set on the" in line for line in lines), lines
    assert any(line.startswith("patch_size 96 x 96 set on") for line in lines), lines
    assert any(line.startswith("seed 7 set on") for line in lines), lines
    assert any(line.startswith("time about 24 min") for line in lines), lines  # 120 * 6 + 60 * 12


@pytest.mark.parametrize(
    ("changes", "minutes"),
    [
        ({"stage1_steps": 10, "stage2_steps": 20}, (10 * 6 + 20 * 12) / 60),
        ({"stage1_steps": 0, "stage2_steps": 20}, 20 * 12 / 60),
        # FLOPs of a step are 1 and 2 in tests: the rival takes twice the steps
        ({"stage1_steps": 10, "stage2_steps": 20, "arm": "segmentor_only"}, 50 * 6 / 60),
    ],
)
def test_minutes_are_steps_times_seconds(tmp_path, monkeypatch, changes, minutes):
    from hidiff.experiment import duration
    from hidiff.training import Budget
    from hidiff.training.stages import BASELINE, STAGE1, stage2_of
    from tests.tiny import make_tiny

    monkeypatch.setattr(
        duration,
        "count_flops",
        lambda hybrid, patch, settings: Budget({STAGE1: 1, BASELINE: 1, stage2_of(settings): 2}),
    )
    recipe = make_tiny(tmp_path, training=changes)
    assert duration.estimate_duration(recipe, cpu=True).minutes == pytest.approx(minutes)


def test_a_recipe_that_cannot_run_here_has_no_time(tmp_path, monkeypatch):
    from hidiff import experiment
    from hidiff.cli.planning import time_choice
    from tests.tiny import make_tiny

    def lacking(recipe, *, cpu):
        raise ImportError("timm is not installed")

    monkeypatch.setattr(experiment, "estimate_duration", lacking)
    assert time_choice(make_tiny(tmp_path), cpu=True) == []


def test_a_recipe_that_cannot_run_is_not_written(hidiff, data, tmp_path):
    words = ["train", data, "--recipe-only", "--output", tmp_path / "runs"]
    words += ["--set", "segmentor={name: files, options: {}}", "--set", "training.segmentor=frozen"]
    result = hidiff(*words)
    assert result.exit_code == 2
    assert "holds no prior of case-" in result.stderr
    assert not (tmp_path / "runs").exists()
