"""A volume with several raters, a field of view and a prior trains, evaluates and is refined."""

import numpy as np
import pytest
import torch

from hidiff import experiment
from hidiff.evaluation import evaluate, read_truth
from hidiff.images import to_slices
from hidiff.recipe import make_recipe
from tests.tiny import skip_counting
from tests.volumes import make_grid, write_nifti

GRID = make_grid(64, 64, 3)
LABELS = {"kind": "exclusive", "classes": {"organ": [1], "lesion": [2]}}


def draw_case(root, name, draws):
    """Three raters, of whom two agree; the first slice is out of view; the prior knows the mask."""
    image = draws.uniform(0, 100, GRID.shape).astype(np.float32)
    mask = np.zeros(GRID.shape, np.uint8)
    mask[10:40, 10:40, :], mask[20:30, 20:30, 1:] = 1, 2
    other = np.where(mask == 2, 1, mask).astype(np.uint8)
    seen = np.ones(GRID.shape, np.uint8)
    seen[:, :, 0] = 0
    write_nifti(root / "images" / f"{name}.nii.gz", image, GRID)
    for rater, values in (("anna", mask), ("ben", other), ("cleo", mask)):
        write_nifti(root / "masks" / rater / f"{name}.nii.gz", values, GRID)
    write_nifti(root / "fields_of_view" / f"{name}.nii.gz", seen, GRID)
    bits = np.stack([mask == value for value in range(3)])
    prior = 0.7 * bits + 0.1
    # nnU-Net's axes run backwards: planes, z, y, x; its segmentation lies beside
    write_nifti(root / "priors" / f"{name}.nii.gz", mask, GRID)
    np.savez(root / "priors" / f"{name}.npz", probabilities=prior.transpose(0, 3, 2, 1))
    return mask, prior


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A recipe on four such volumes, the folder of a short run of it, and the last case drawn."""
    root = tmp_path_factory.mktemp("volumes")
    folders = ("images", "masks/anna", "masks/ben", "masks/cleo", "fields_of_view", "priors")
    for name in folders:
        (root / name).mkdir(parents=True)
    draws = np.random.default_rng(0)
    drawn = {f"case-{number}": draw_case(root, f"case-{number}", draws) for number in range(4)}
    recipe = make_recipe(
        {
            "name": "volumes",
            "seed": 0,
            "labels": LABELS,
            "data": {
                "path": str(root),
                "channels": 1,
                "neighbours": 1,
                "intensity": {"kind": "window", "window": [0, 100]},
                "patch_size": [64, 64],
                "outside_field_of_view": "ignored",
                "augmentation": "mri",
                "splitting": {"fractions": [0.5, 0.25, 0.25]},
            },
            "segmentor": {"name": "files", "options": {}},
            "refiner": {"width": 8, "condition": "once"},
            "diffusion": {"num_steps": 4},
            "training": {"segmentor": "frozen", "batch_size": 2, "stage2_steps": 2, "log_every": 1},
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        skip_counting(patch)
        experiment.train(recipe, root / "run", cpu=True)
    return recipe, root / "run", drawn


def test_its_items_hold_every_plane_slice_by_slice(run):
    recipe, _, _ = run
    loaded = experiment.load_cases(recipe, experiment.list_cases(recipe, "train"))
    assert len(loaded) == 2 * 3
    for number in range(3):
        item = loaded[number]
        assert item["name"] == f"{loaded.cases[0].name}:{number}"
        assert item["image"].shape == (3, 64, 64)  # with the slices above and below
        assert item["raters"].shape == (3, 3, 64, 64)
        assert item["field_of_view"].unique().tolist() == [float(number > 0)]
        # two of three raters have the mask that the prior knows
        assert torch.equal(item["y0"] > 0, item["prior"] > 0.5)
        assert bool((item["raters"][0] != item["raters"][1]).any()) == (number > 0)


def test_its_refined_masks_are_judged_in_view_with_the_truth_of_most_raters(run):
    recipe, folder, drawn = run
    predictor, cases = experiment.load_predictor(folder), experiment.list_cases(recipe, "test")
    (case,) = cases
    mask, _ = drawn[case.name]
    truth = read_truth(case, predictor)
    assert np.array_equal(truth.labels, to_slices(mask, GRID, "axial"))
    assert truth.noun == "volume" and len(truth.raters) == 3
    assert not truth.inside[0].any() and truth.inside[1:].all()
    rows = evaluate(predictor, cases)
    assert {row["source"] for row in rows} == {"prior", "refined"}
    assert {row["dice"] for row in rows if row["source"] == "prior"} == {1.0}
    assert {row["per"] for row in rows} == {"volume"} and {row["unit"] for row in rows} == {"mm"}


def test_its_prior_and_steps_come_back_on_its_own_grid(run):
    recipe, folder, drawn = run
    predictor, (case,) = experiment.load_predictor(folder), experiment.list_cases(recipe, "test")
    mask, prior = drawn[case.name]
    options = {"prior": case.prior, "steps": 2, "keep_probability": True}
    found = predictor.predict(case.image, trace=True, **options)
    np.testing.assert_allclose(found.prior, prior, atol=1e-3)
    np.testing.assert_array_equal(found.prior_labels, mask)
    assert [t for t, _, _ in found.trace] == [4, 2]
    assert all(yt.shape == y0_hat.shape == prior.shape for _, yt, y0_hat in found.trace)
    given = predictor.predict(case.image, **{**options, "prior": prior.astype(np.float32)})
    np.testing.assert_array_equal(given.probability, found.probability)
    only = predictor.predict(case.image, prior=case.prior, steps=2, slice=1)
    np.testing.assert_array_equal(only.labels, found.maps["labels"][1])
    with pytest.raises(ValueError, match="3x64x64, but its image is 64x64x3"):
        predictor.predict(case.image, prior=prior.transpose(0, 3, 2, 1))


def test_its_lit_view_is_found_slice_by_slice(run, tmp_path):
    recipe, folder, _ = run
    predictor, (case,) = experiment.load_predictor(folder), experiment.list_cases(recipe, "test")
    image = np.full(GRID.shape, 100, np.float32)
    for number in range(3):
        image[: 15 + 5 * number, :, number] = 0
    file = write_nifti(tmp_path / "lit.nii.gz", image, GRID)
    found = predictor.predict(file, prior=case.prior, lit_view=True, keep_probability=True)
    for number in range(3):
        edge = 15 + 5 * number
        assert not found.prior_labels[: edge - 4, :, number].any()
        assert found.prior_labels[edge + 4 : 39, 12:38, number].all()
        assert (found.prior[0, : edge - 4, :, number] == 1).all()


def test_the_command_refines_its_prior(run, tmp_path):
    from typer.testing import CliRunner

    from hidiff.cli.app import app
    from tests.volumes import read_volume_mask

    recipe, folder, _ = run
    root, (case,) = recipe.data.root, experiment.list_cases(recipe, "test")
    words = ["refine", str(folder), "--prior", str(root / "priors"), str(case.image)]
    done = CliRunner().invoke(app, [*words, "--output", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    (file,) = (tmp_path / "out").iterdir()
    assert file.name == f"{case.name}.nii.gz"
    predicted = experiment.load_predictor(folder).predict(case.image, prior=case.prior)
    np.testing.assert_array_equal(read_volume_mask(file, GRID, case.image), predicted.labels)
