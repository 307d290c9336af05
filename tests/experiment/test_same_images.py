"""One set of patients as different files: trainings and evaluations that are alike in every bit."""

import nibabel as nib
import numpy as np
import pytest

from hidiff import experiment, weights
from hidiff.evaluation import evaluate
from hidiff.images import Grid
from hidiff.recipe import make_recipe
from tests.dicom_series import make_slices, write_slices
from tests.tiny import same_tensors, skip_counting
from tests.volumes import write_nifti

# The axes of a DICOM series, so that its image and its mask lie alike.
GRID = Grid((64, 64, 3), np.diag([-2.0, -2.0, 3.0, 1.0]))
NAMES = [f"case-{number}" for number in range(4)]
LOWEST = 0


def draw(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return an image with a dark frame, and its mask."""
    draws = np.random.default_rng(NAMES.index(name))
    image = np.full(GRID.shape, LOWEST, np.int16)
    image[8:, 8:] = draws.integers(20, 100, (56, 56, 3))
    mask = np.zeros(GRID.shape, np.uint8)
    mask[12:40, 16:44] = 1
    return image, mask


def plain(image, mask, folder, name):
    write_nifti(folder / "images" / f"{name}.nii.gz", image, GRID)
    write_nifti(folder / "masks" / f"{name}.nii.gz", mask, GRID)


def with_nan(image, mask, folder, name):
    """Write NaN outside the body."""
    values = np.where(image == LOWEST, np.nan, image).astype(np.float32)
    plain(values, mask, folder, name)


def turned(image, mask, folder, name):
    """Write masks whose axes run in another order and direction than those of their images."""
    plain(image, mask, folder, name)
    file = nib.Nifti1Image(mask, GRID.affine)
    orientation = [[1, 1], [2, -1], [0, -1]]
    nib.save(file.as_reoriented(orientation), folder / "masks" / f"{name}.nii.gz")


def inverted(image, mask, folder, name):
    """Write DICOM whose low values are white."""
    plain(image, mask, folder, name)
    (folder / "images" / f"{name}.nii.gz").unlink()
    slices = make_slices(~image, GRID)  # the complement of the stored bits
    for each in slices:
        each.PhotometricInterpretation = "MONOCHROME1"
    write_slices(folder / "images" / name, slices)


def run(folder, write, nan="refused"):
    """Train on such files for two steps a stage; return the networks and the evaluation's rows."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for name in NAMES:
        write(*draw(name), folder, name)
    recipe = make_recipe(
        {
            "name": "same",
            "seed": 0,
            "labels": {"kind": "one_class", "classes": {"organ": [1]}},
            "data": {
                "path": str(folder),
                "channels": 1,
                "nan": nan,
                "intensity": {"kind": "window", "window": [0, 100]},
                "patch_size": [64, 64],
                "augmentation": "mri",
                "splitting": {"fractions": [0.5, 0.25, 0.25]},
            },
            "segmentor": {"options": {"width": 8}},
            "refiner": {"width": 8, "condition": "once"},
            "diffusion": {"num_steps": 4},
            "training": {"batch_size": 2, "stage1_steps": 2, "stage2_steps": 2, "log_every": 1},
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        skip_counting(patch)
        experiment.train(recipe, folder / "run", cpu=True)
    tensors, _ = weights.load(folder / "run" / "last.safetensors")
    predictor = experiment.load_predictor(folder / "run")
    return tensors, evaluate(predictor, experiment.list_cases(recipe, "test"))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return run(tmp_path_factory.mktemp("plain"), plain)


@pytest.mark.parametrize(
    "write, nan",
    [(with_nan, "background"), (turned, "refused"), (inverted, "refused")],
    ids=["NaN outside the body", "masks with turned axes", "MONOCHROME1"],
)
def test_other_files_of_the_same_images_train_and_evaluate_the_same(write, nan, expected, tmp_path):
    if write is inverted:
        pytest.importorskip("pydicom")
    tensors, rows = run(tmp_path, write, nan)
    assert same_tensors(tensors, expected[0])
    assert rows == expected[1]
