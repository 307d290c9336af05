"""The commands that a training ends with work when they are copied, whatever the data's layout.

The networks are not trained, which is all the same to the commands.
"""

import shlex

import numpy as np
import pytest
from PIL import Image

from hidiff.images import Grid
from tests.nnunet_sets import write_nnunet
from tests.volumes import make_grid, write_nifti

GRID = make_grid(32, 32, 2)
DRAWS = np.random.default_rng(0)


def mask_of(number, shape=GRID.shape):
    mask = np.zeros(shape, np.uint8)
    mask[8:20, 6 + number : 20] = 1
    return mask


def image_of(mask):
    return (90 * mask + DRAWS.integers(0, 30, mask.shape)).astype(np.uint8)


def pictures(root):
    """A folder whose name has a space."""
    root = root / "my data"
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(5):
        mask = mask_of(number, (32, 32))
        Image.fromarray(image_of(mask)).save(root / f"images/a b{number}.png")
        Image.fromarray(mask).save(root / f"masks/a b{number}.png")
    return {"source": "folder", "path": root, "channels": 1}


def drive_without_test_masks(root):
    for part, masks in (("training", True), ("test", False)):
        for name in ("images", "mask", *(["1st_manual"] if masks else [])):
            (root / part / name).mkdir(parents=True)
        for number in range(6):
            mask = mask_of(number, (32, 32))
            colour = np.dstack([image_of(mask)] * 3)
            key = f"{number:02d}"
            Image.fromarray(colour).save(root / part / f"images/{key}_{part}.tif")
            Image.fromarray(255 + 0 * mask).save(root / part / f"mask/{key}_{part}_mask.gif")
            if masks:
                Image.fromarray(255 * mask).save(root / part / f"1st_manual/{key}_manual1.gif")
    return {"source": "drive", "path": root, "channels": 3}


def folders_of_scans(source, name, stems):
    """A folder per scan: a file for each sequence, and the mask at the end."""

    def make(root):
        for number in range(5):
            place = root / name.format(number)
            place.mkdir(parents=True)
            mask = mask_of(number)
            for stem in stems[:-1]:
                file = place / f"{stem.format(place.name)}.nii.gz"
                write_nifti(file, image_of(mask), GRID)
            write_nifti(place / f"{stems[-1].format(place.name)}.nii.gz", mask, GRID)
        return {"source": source, "path": root, "channels": 4, "intensity": {"kind": "zscore"}}

    return make


def dicom(root):
    dicom_series = pytest.importorskip("tests.dicom_series")
    (root / "masks").mkdir(parents=True)
    for number in range(5):
        mask = mask_of(number)
        slices = dicom_series.make_slices(image_of(mask).astype(np.int16), GRID)
        dicom_series.write_slices(root / f"images/s{number}", slices)
        write_nifti(root / f"masks/s{number}.nii.gz", mask, GRID)
    return {"source": "folder", "path": root, "channels": 1, "intensity": {"kind": "zscore"}}


def nnunet(root, channels=2):
    write_nnunet(root, shapes=(GRID.shape,) * 5, labels={"background": 0, "a": 1, "b": 2})
    for file in (root / "imagesTr").iterdir() if channels == 2 else ():
        second = file.with_name(file.name.replace("_0000", "_0001"))
        second.write_bytes(file.read_bytes())
    if channels == 2:
        text = (root / "dataset.json").read_text().replace('"0": "MRI"', '"0": "A", "1": "B"')
        (root / "dataset.json").write_text(text)
    return {
        "source": "nnunet", "path": root, "channels": channels, "intensity": {"kind": "zscore"},
    }  # fmt: skip


def priors_of_volumes(places, kind):
    """Label maps of another model, in one folder, in nnU-Net's folds, or a folder per case."""

    def make(root):
        import nibabel as nib

        data = nnunet(root, channels=1)
        for number, file in enumerate(sorted((root / "labelsTr").iterdir())):
            opened, case = nib.load(file), file.name.removesuffix(".nii.gz")
            found = np.roll(np.asarray(opened.dataobj), 1, axis=0)
            place = root / places.format(fold=number % 2, case=case)
            place.mkdir(parents=True, exist_ok=True)
            grid = Grid(found.shape, opened.affine)
            if "{case}" in places:
                for value, name in enumerate("ab", start=1):
                    write_nifti(place / f"{name}.nii.gz", 1.0 * (found == value), grid)
            else:
                write_nifti(place / file.name, found, grid)
        return {**data, "priors": {"kind": kind}}

    return make


LAYOUTS = {
    "pictures": pictures,
    "DRIVE without test masks": drive_without_test_masks,
    "BraTS 2021": folders_of_scans(
        "brats", "BraTS2021_{:05d}", ("{}_t1", "{}_t1ce", "{}_t2", "{}_flair", "{}_seg")
    ),
    "BraTS 2023": folders_of_scans(
        "brats2023", "BraTS-GLI-{:05d}-000", ("{}-t1n", "{}-t1c", "{}-t2w", "{}-t2f", "{}-seg")
    ),
    "MS lesions": folders_of_scans(
        "ms_lesions", "patient{:02d}", ("t1", "t1post", "t2", "flair", "lesions")
    ),
    "DICOM": dicom,
    "nnU-Net": nnunet,
    "priors of volumes": priors_of_volumes("priors", "mask"),
    "priors in nnU-Net's folds": priors_of_volumes("priors/fold_{fold}/validation", "mask"),
    "priors with a file per class": priors_of_volumes("priors/{case}", "probability"),
}


@pytest.fixture
def untrained(monkeypatch):
    """Let `hidiff train` save its networks as they begin."""
    from hidiff.experiment import checkpoint_metadata
    from hidiff.training import save_model

    def save(experiment):
        experiment.folder.mkdir(parents=True)
        hybrid = experiment.hybrid
        metadata = {**checkpoint_metadata(experiment.recipe), "stage": "joint", "step": "1"}
        file = experiment.folder / "best.safetensors"
        save_model(file, hybrid.segmentor, hybrid.refiner, metadata)

    monkeypatch.setattr("hidiff.cli.run.train_experiment", save)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_closing_commands_work(hidiff, untrained, tmp_path, monkeypatch, layout):
    from hidiff.recipe import make_recipe, write_recipe

    monkeypatch.chdir(tmp_path)
    data = LAYOUTS[layout](tmp_path / "data")
    classes = {"a": [1], "b": [2]} if data["source"] == "nnunet" else {"a": [1]}
    kind = "exclusive" if len(classes) > 1 else "one_class"
    other = "priors" in data
    recipe = make_recipe(
        {
            "name": "tiny",
            "data": {**data, "path": str(data["path"]), "patch_size": [64, 64]},
            "labels": {"kind": kind, "classes": classes},
            "segmentor": {"name": "files", "options": {}} if other else {"options": {"width": 8}},
            "refiner": {"width": 8},
            "diffusion": {"num_steps": 2},
            "prediction": {"steps": 1},
            "training": {"segmentor": "frozen"} if other else {},
        }
    )
    write_recipe(recipe, tmp_path / "tiny.yaml")
    trained = hidiff("train", "tiny.yaml", "--device", "cpu", "--output", "my runs")
    assert trained.exit_code == 0, trained.output
    lines = dict(line.split(":", 1) for line in trained.stdout.splitlines() if ":  " in line)
    judged = hidiff(*shlex.split(lines["Test"])[1:], "--no-report")
    assert judged.exit_code == 0, judged.output
    used = hidiff(*shlex.split(lines["Use"])[1:])
    assert used.exit_code == 0, used.output
    count = len(list((tmp_path / "masks").iterdir()))
    assert count >= 1 and f"{'refine' if other else 'predict'} " in lines["Use"]
