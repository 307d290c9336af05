"""The refiner inside MONAI's pipelines: a dictionary transform, and an inferer."""

import subprocess
import sys

import nibabel
import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor
from monai.inferers.inferer import SimpleInferer
from monai.transforms.compose import Compose
from monai.transforms.io.dictionary import LoadImaged
from monai.transforms.utility.dictionary import EnsureChannelFirstd
from PIL import Image

import hidiff
from hidiff import weights
from hidiff.experiment import checkpoint_metadata, make_hybrid
from hidiff.monai import Refined, RefineInferer
from hidiff.training.stages import REFINER_ONLY
from tests.experiment.test_model import save_model
from tests.tiny import make_tiny, shake

FROM_FILES = {"name": "files", "options": {}}
LOADED = [LoadImaged("image"), EnsureChannelFirstd("image")]


@pytest.fixture(scope="module")
def colour(tmp_path_factory):
    return hidiff.load(save_model(tmp_path_factory.mktemp("colour")))


def save_refiner(folder):
    """Write an untrained model that refines the masks of another one, as a checkpoint."""
    changes = {"segmentor": FROM_FILES, "training": {"segmentor": "frozen"}}
    recipe = make_tiny(folder, refiner={"precision": "real"}, **changes)
    hybrid = shake(make_hybrid(recipe), size=1.0)
    tensors = {f"refiner.{k}": v for k, v in hybrid.refiner.state_dict().items()}
    metadata = {**checkpoint_metadata(recipe), "stage": REFINER_ONLY.name}
    path = folder / "model.safetensors"
    weights.save(path, tensors, metadata)
    return path


@pytest.fixture(scope="module")
def refiner(tmp_path_factory):
    return hidiff.load(save_refiner(tmp_path_factory.mktemp("refiner")))


@pytest.fixture
def picture(tmp_path):
    """A picture that is no square, and its pixels (rows, columns, channels)."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 70, 3), dtype=np.uint8)
    path = tmp_path / "eye.png"
    Image.fromarray(pixels).save(path)
    return path, pixels


def test_hidiff_itself_does_not_import_monai():
    code = "import sys, hidiff; hidiff.load; sys.exit('monai' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("output", ["labels", "probability", "uncertainty", "prior"])
def test_a_picture_in_a_compose_gets_what_predict_gives_on_monai_s_axes(colour, picture, output):
    path, pixels = picture
    made = Compose([*LOADED, Refined("pred", colour, output=output)])({"image": str(path)})
    truth = getattr(colour.predict(pixels, name="image"), output)
    truth = truth if truth.ndim == 3 else truth[None]
    assert made["pred"].shape == (1, 70, 48) and made["image"].shape == (3, 70, 48)
    assert np.array_equal(made["pred"].numpy().swapaxes(1, 2), truth.astype(np.float32))


def test_rows_first_is_taken_at_its_word(colour, picture):
    image = torch.from_numpy(picture[1]).movedim(-1, 0)
    truth = colour.predict(picture[1]).labels
    found = Refined("pred", colour)({"image": image})["pred"]
    assert np.array_equal(found[0].numpy(), truth)
    turned = Refined("pred", colour, columns_first=True)({"image": image.swapaxes(1, 2)})["pred"]
    assert np.array_equal(turned[0].numpy().T, truth)


def test_a_volume_keeps_its_axes_and_its_affine(tmp_path):
    data = {"channels": 1, "intensity": {"kind": "zscore"}}
    model = hidiff.load(save_model(tmp_path, data=data))
    affine = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, -7], [0, 0, 3, 1], [0, 0, 0, 1]])
    voxels = np.random.default_rng(0).normal(size=(40, 33, 4)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "scan.nii.gz")
    made = Compose([*LOADED, Refined("pred", model)])({"image": str(tmp_path / "scan.nii.gz")})
    truth = model.predict(tmp_path / "scan.nii.gz").labels
    assert np.array_equal(made["pred"][0].numpy(), truth)
    assert np.allclose(made["pred"].affine, affine)


def test_a_network_s_probabilities_are_refined_by_a_model_of_priors(refiner, picture):
    image = torch.from_numpy(picture[1]).movedim(-1, 0)
    prior = torch.rand(1, 48, 70)
    found = Refined("pred", refiner, output="probability", steps=2)({"image": image, "pred": prior})
    truth = refiner.predict(picture[1], prior=prior.numpy(), steps=2).probability
    assert np.array_equal(found["pred"].numpy(), truth)
    assert not np.allclose(truth, prior)
    with pytest.raises(ValueError, match="refines priors, but the data have no 'pred'"):
        Refined("pred", refiner)({"image": image})


def test_the_inferer_refines_each_image_of_a_batch(refiner):
    inputs, weight = torch.randint(0, 256, (2, 3, 64, 64)).float(), torch.randn(1, 3, 1, 1) / 100

    def network(x):
        return torch.nn.functional.conv2d(x, weight)

    for inferer in (None, SimpleInferer()):
        found = RefineInferer(refiner, inferer)(inputs, network)
        for image, logits, one in zip(inputs, network(inputs), found, strict=True):
            pixels = image.movedim(0, -1).numpy()
            prior = logits.sigmoid().numpy()
            truth = refiner.predict(pixels, prior=prior).probability
            assert np.allclose(one.numpy(), truth, atol=1e-5)


def test_mistakes_are_told(colour, refiner, picture):
    with pytest.raises(ValueError, match="has a segmentor of its own, but an inferer"):
        RefineInferer(colour)
    with pytest.raises(ValueError, match="output is 'mask', but must be one of labels"):
        Refined("pred", colour, output="mask")
    with pytest.raises(ValueError, match=r"no 'image', but photo\. Name the image"):
        Refined("pred", colour)({"photo": 1})
    with pytest.raises(ValueError, match=r"shape \(48, 70\), but \(channels, rows, columns\)"):
        Refined("pred", colour)({"image": MetaTensor(torch.zeros(48, 70))})
