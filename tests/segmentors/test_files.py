"""Priors from files: handed on unchanged, trained on, and refined."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from typer.testing import CliRunner

import hidiff
from hidiff import experiment, weights
from hidiff.images import DataError
from hidiff.images.picture_masks import read_picture_mask as read_mask
from hidiff.recipe import make_recipe
from hidiff.segmentors import PriorFromFiles, Segmentor
from tests.tiny import COSTS, make_tiny

FROZEN = {"segmentor": "frozen", "stage2_steps": 2, "validate_every": 2}


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_prior_comes_out_as_it_went_in(exclusive):
    segmentor = PriorFromFiles(3, 2, exclusive)
    assert isinstance(segmentor, Segmentor)
    prior = torch.rand(1, 2, 8, 8)
    prior = prior / prior.sum(dim=1, keepdim=True) if exclusive else prior
    prior[0, :, 0, 0] = torch.tensor([0.0, 1.0])
    logits = segmentor(torch.cat([torch.randn(1, 3, 8, 8), prior], dim=1)).logits
    assert_close(logits.softmax(dim=1) if exclusive else logits.sigmoid(), prior, atol=1e-5, rtol=0)


def test_an_image_without_its_prior_is_refused():
    with pytest.raises(ValueError, match="3 channels, but 4 are wanted: the last 1 are the prior"):
        PriorFromFiles(3, 1, False)(torch.zeros(1, 3, 8, 8))


def test_files_cannot_be_trained(tmp_path):
    with pytest.raises(ValueError, match=r"name is files, .*set training\.segmentor=frozen"):
        make_tiny(tmp_path, segmentor={"name": "files", "options": {}})


@pytest.fixture(scope="module", params=["one_class", "exclusive"])
def run(request, tmp_path_factory):
    """A recipe on priors from files, and the folder of a short run of it."""
    folder = tmp_path_factory.mktemp(request.param)
    recipe = make_tiny(
        folder, request.param, segmentor={"name": "files", "options": {}}, training=FROZEN
    )
    data, draws = recipe.data.root, np.random.default_rng(0)
    (data / "priors").mkdir()
    for mask in sorted((data / "masks").iterdir()):
        truth = recipe.labels.encode(read_mask(mask))
        blurred = 0.6 * truth + 0.4 * draws.random(truth.shape)
        blurred = blurred / blurred.sum(axis=0) if len(truth) > 1 else blurred
        np.savez(data / "priors" / f"{mask.stem}.npz", probabilities=blurred[:, None])
    experiment.train(recipe, folder / "run", cpu=True, budget=COSTS)
    return recipe, folder / "run"


def first_case(recipe):
    return experiment.list_cases(recipe, "train")[0]


def test_a_refiner_is_trained_on_priors_alone(run):
    _, folder = run
    tensors, metadata = weights.load(folder / "last.safetensors")
    assert metadata["stage"] == "refiner_only"
    assert not any(name.startswith("segmentor.") for name in tensors)
    assert any(name.startswith("refiner.image_encoder.") for name in tensors)


def test_the_files_prior_is_what_is_refined(run):
    recipe, folder = run
    case = first_case(recipe)
    predictor = hidiff.load(folder)
    found = predictor.predict(case.image, prior=case.prior, steps=2)
    truth = np.load(case.prior)["probabilities"][:, 0]
    np.testing.assert_allclose(found.prior, truth, atol=2e-5)
    same = predictor.predict(case.image, prior=truth, steps=2)
    assert np.array_equal(found.probability, same.probability)


def test_a_prior_is_asked_for_and_no_other_model_takes_one(run, tmp_path):
    recipe, folder = run
    case = first_case(recipe)
    predictor = hidiff.load(folder)
    with pytest.raises(ValueError, match="refines priors from files, and none came"):
        predictor.predict(case.image)
    with pytest.raises(ValueError, match=r"the prior is 8x8, but its image is 64x64"):
        planes = recipe.labels.num_planes
        predictor.predict(case.image, prior=np.full((planes, 8, 8), 1 / planes))
    other = make_tiny(tmp_path)
    with_segmentor = experiment.make_predictor(experiment.make_hybrid(other), other)
    with pytest.raises(ValueError, match="this model has a segmentor of its own"):
        with_segmentor.predict(case.image, prior=case.prior)


def test_a_missing_prior_is_named_before_training(run, tmp_path):
    recipe, _ = run
    content = recipe.model_dump()
    content["data"]["priors"]["folder"] = str(tmp_path)
    with pytest.raises(DataError, match=r"holds no prior of case-"):
        experiment.list_cases(make_recipe(content), "train")


def test_the_command_refines_a_folder(run, tmp_path):
    from hidiff.cli.app import app

    recipe, folder = run
    data, runner = recipe.data.root, CliRunner()
    words = ["refine", str(folder), "--prior", str(data / "priors"), str(data / "images")]
    done = runner.invoke(app, [*words, "--output", str(tmp_path / "out"), "--format", "npz"])
    assert done.exit_code == 0, done.output
    case = first_case(recipe)
    found = np.load(tmp_path / "out" / f"{case.name}.npz")
    truth = hidiff.load(folder).predict(case.image, prior=case.prior)
    assert np.array_equal(found["probability"], truth.probability)
    assert len(list((tmp_path / "out").iterdir())) == len(list((data / "images").iterdir()))
    # a prior that is not there fails its own image alone
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / f"{case.name}.npz").write_bytes(
        (data / "priors" / f"{case.name}.npz").read_bytes()
    )
    words[3] = str(tmp_path / "few")
    done = runner.invoke(app, [*words, "--output", str(tmp_path / "out2")])
    assert done.exit_code == 1
    assert "holds no prior of case-" in " ".join(done.output.split())
