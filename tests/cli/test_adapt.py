"""`hidiff adapt`: a refiner behind another model's results, tested on held-out patients."""

import json
import shlex

import numpy as np
import pytest

from hidiff.evaluation.gain import measure_gain
from hidiff.recipe import read_recipe
from tests.tiny import skip_counting
from tests.volumes import make_grid, write_nifti

GRID = make_grid(64, 64, 2)
SMALL = (
    "refiner.width=8", "diffusion.num_steps=2", "data.patch_size=[64, 64]", "data.neighbours=0",
    "training.stage2_steps=2", "training.batch_size=2", "training.validate_every=2",
)  # fmt: skip
SETS = tuple(word for change in SMALL for word in ("--set", change))


@pytest.fixture
def three(tmp_path, monkeypatch):
    """Images, masks and nnU-Net's predictions of ten patients; those of p9 are missing."""
    skip_counting(monkeypatch)
    draws = np.random.default_rng(0)
    for name in ("imagesTr", "labelsTr", "predictions"):
        (tmp_path / name).mkdir()
    names = {"background": 0, "RV": 1, "LV": 2}
    content = {"channel_names": {"0": "MRI"}, "labels": names, "file_ending": ".nii.gz"}
    for place in (tmp_path, tmp_path / "predictions"):
        (place / "dataset.json").write_text(json.dumps(content))
    (tmp_path / "predictions/plans.json").write_text('{"image_reader_writer": "SimpleITKIO"}')
    for number in range(11):
        mask = np.zeros(GRID.shape, np.uint8)
        mask[10:30, 10 + number : 30], mask[34:50, 20:40] = 1, 2
        image = (60 * mask + draws.integers(0, 20, GRID.shape)).astype(np.uint8)
        write_nifti(tmp_path / f"imagesTr/p{number}_0000.nii.gz", image, GRID)
        write_nifti(tmp_path / f"labelsTr/p{number}.nii.gz", mask, GRID)
        if number != 9:
            shifted = np.roll(mask, 2, axis=0)
            write_prediction(tmp_path / "predictions", f"p{number}", shifted)
    return [str(tmp_path / name) for name in ("imagesTr", "labelsTr", "predictions")]


def write_prediction(folder, name, labels):
    """Write a segmentation and its probabilities as nnU-Net does."""
    maps = np.stack([0.1 + 0.7 * (labels == value) for value in range(3)]).astype(np.float32)
    write_nifti(folder / f"{name}.nii.gz", labels, GRID)
    np.savez(folder / f"{name}.npz", probabilities=maps.transpose(0, 3, 2, 1))


@pytest.mark.parametrize("kind", ["probability", "mask"])
def test_it_ends_with_a_gain_and_a_command_that_works(hidiff, three, tmp_path, kind):
    runs = tmp_path / "runs"
    words = ["adapt", *three, "--output", runs, "--name", "a", *SETS]
    result = hidiff(*words, *(["--kind", "mask"] if kind == "mask" else []))
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert f"10 cases of 10 patients have an image, a mask and a prior ({kind})" in said
    assert "1 cases without a prior are left out, p9 among them" in said
    assert "5 patients train, 1 validate, and 4 are held out" in said
    recipe = read_recipe(runs / "a.yaml")
    assert (recipe.segmentor.name, recipe.training.segmentor) == ("files", "frozen")
    assert recipe.labels.class_names == ("RV", "LV")
    assert recipe.data.priors.softness_mm == (2.0 if kind == "mask" else None)
    # ten voxels are not moved two rows by two steps of training
    assert "Verdict: not recommended" in said and "4 patients" in said
    (line,) = (line for line in result.output.splitlines() if line.startswith("Try:"))
    used = hidiff(*shlex.split(line)[2:])
    assert used.exit_code == 1  # of the images only p9 has no prior
    assert "10 of 11 images are done" in used.output
    assert "holds no prior of p9" in " ".join(used.output.split())
    judged = hidiff("evaluate", runs / "a", "--no-report", "--overwrite")
    assert judged.exit_code == 0, judged.output


def test_what_cannot_show_a_gain_is_refused_before_training(hidiff, three, tmp_path):
    from pathlib import Path

    images, masks, priors = map(Path, three)
    same = hidiff("adapt", images, masks, masks, "--output", tmp_path / "r")
    assert same.exit_code == 2 and "is given for both masks and priors" in same.output
    for mask in masks.iterdir():  # the ground truth under another name
        (tmp_path / "copied").mkdir(exist_ok=True)
        (tmp_path / "copied" / mask.name).write_bytes(mask.read_bytes())
    equal = hidiff("adapt", images, masks, tmp_path / "copied", "--output", tmp_path / "r")
    assert equal.exit_code == 2
    assert "the priors of 11 of 11 cases (p0 among them) equal their masks" in " ".join(
        equal.output.split()
    )
    for number in range(3, 11):
        (priors / f"p{number}.npz").unlink(missing_ok=True)
        (priors / f"p{number}.nii.gz").unlink(missing_ok=True)
    few = hidiff("adapt", *three, "--output", tmp_path / "r")
    assert few.exit_code == 2
    assert "3 cases of 3 patients have an image" in " ".join(few.output.split())
    assert not list((tmp_path / "r").rglob("*.safetensors"))


def test_ignored_values_of_the_masks_can_be_declared(hidiff, three, tmp_path):
    """dataset.json names no class 255, and says no word of what it is."""
    from pathlib import Path

    import nibabel as nib

    for file in Path(three[1]).iterdir():
        mask = np.asarray(nib.load(file).dataobj).copy()
        mask[:5] = 255
        write_nifti(file, mask, GRID)
    words = ["adapt", *three, "--output", tmp_path / "r", "--name", "a", "--recipe-only", *SETS]
    refused = hidiff(*words)
    assert refused.exit_code == 2 and "255" in refused.stderr and "ignore" in refused.stderr
    declared = hidiff(*words, "--set", "labels.ignore=255")
    assert declared.exit_code == 0, declared.output
    assert read_recipe(tmp_path / "r" / "a.yaml").labels.ignore == (255,)


def test_a_patient_in_two_folds_is_refused(hidiff, three, tmp_path):
    from pathlib import Path

    images, masks, priors = map(Path, three)
    model = tmp_path / "model"
    for number in range(11):
        folder = model / f"fold_{number % 2}" / "validation"
        folder.mkdir(parents=True, exist_ok=True)
        for ending in (".npz", ".nii.gz"):
            file = priors / f"p{number}{ending}"
            if file.is_file():
                file.rename(folder / file.name)
    for name in ("plans.json", "dataset.json"):
        (priors / name).rename(model / name)
    words = ["adapt", images, masks, model, "--output", tmp_path / "r", "--recipe-only", *SETS]
    each = hidiff(*words)
    assert each.exit_code == 0, each.output
    cases = json.loads((tmp_path / "r" / f"{tmp_path.name}_adapted/cases.json").read_text())
    priors_of = {case["name"]: case["prior"] for case in cases["cases"]}
    assert priors_of["p3"] == str(model / "fold_1/validation/p3.npz")
    for place in (images, masks, *(model / f"fold_{fold}/validation" for fold in (0, 1))):
        for file in list(place.iterdir()):  # p0, p1 become two images of one patient, and so on
            number = int(file.name[1:].partition(".")[0].partition("_")[0])
            rest = file.name.removeprefix(f"p{number}")
            file.rename(place / f"q{number // 2}v{number % 2}{rest}")
    pairs = hidiff(*words, "--group", "^(q[0-9]+)")
    assert pairs.exit_code == 2
    said = " ".join(pairs.output.split())
    assert "6 patients have" in said or "was held out by two folds" in said


def row(case, source, dice):
    return {"case": case, "group": case, "class": "a", "source": source, "dice": dice}


@pytest.mark.parametrize(("gains", "certain"), [([0.1] * 3 + [0.101], True), ([0.1, -0.1], False)])
def test_a_gain_is_certain_where_its_interval_lies_above_zero(gains, certain):
    rows = [
        row(f"p{number}", source, 0.5 + (gain if source == "refined" else 0))
        for number, gain in enumerate(gains)
        for source in ("prior", "refined")
    ]
    found = measure_gain(rows)
    assert found.is_certain == certain and found.change.n == len(gains)
    assert found.change.mean == pytest.approx(np.mean(gains))


def test_of_few_patients_the_interval_is_students():
    from scipy import stats

    draws = np.random.default_rng(0)
    gains = draws.normal(0.05, 0.03, 6)
    rows = [
        row(f"p{number}", source, 0.5 + (gain if source == "refined" else 0))
        for number, gain in enumerate(gains)
        for source in ("prior", "refined")
    ]
    change = measure_gain(rows).change
    theirs = stats.ttest_1samp(gains, 0).confidence_interval(0.95)
    assert (change.low, change.high) == pytest.approx((theirs.low, theirs.high))
