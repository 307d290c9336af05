"""Another model's results as priors: every form is read right, and stays with its image."""

import numpy as np
import pytest
import torch
from PIL import Image

from hidiff.datasets import Case
from hidiff.images import DataError, Intensity, PictureGeometry
from hidiff.images.priors import Priors, check_prior, find_prior, soften
from hidiff.images.priors import read_prior as read_slices
from hidiff.labels import Labels
from hidiff.loading import Augmentation, LoadedCases, Reading
from hidiff.loading.transforms import training_transform

ONE = Labels(kind="one_class", classes={"a": (1,)})
TWO = Labels(kind="exclusive", classes={"a": (1,), "b": (2,)})
MAPS, MASKS = Priors(), Priors(kind="mask")
SIZE = (6, 8)


def read_prior(path, labels, priors, size):
    return read_slices(path, labels, priors, PictureGeometry(size), "image.png")[:, 0]


def planes(count, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(count), SIZE).transpose(2, 0, 1)


@pytest.mark.parametrize("form", ["npz", "nnunet", "half", "npy"])
def test_planes_are_read_in_every_form(tmp_path, form):
    values = planes(3)
    path = tmp_path / f"a.{'npy' if form == 'npy' else 'npz'}"
    if form == "npy":
        np.save(path, values)
    elif form == "nnunet":  # nnU-Net's 2-D images have one slice
        np.savez(path, probabilities=values[:, None].astype(np.float32))
    else:
        np.savez(path, values.astype(np.float16 if form == "half" else np.float64))
    found = read_prior(path, TWO, MAPS, SIZE)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, values, atol=1e-3 if form == "half" else 1e-6)


def test_of_one_class_background_and_class_are_told_apart(tmp_path):
    values = planes(2)
    np.savez(tmp_path / "a.npz", probabilities=values)
    found = read_prior(tmp_path / "a.npz", ONE, MAPS, SIZE)
    np.testing.assert_allclose(found, values[1:], atol=1e-6)


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535)])
def test_a_picture_of_8_or_16_bits_is_one_plane(tmp_path, dtype, white):
    values = np.random.default_rng(0).integers(0, white + 1, SIZE).astype(dtype)
    Image.fromarray(values).save(tmp_path / "a.png")
    found = read_prior(tmp_path / "a.png", ONE, MAPS, SIZE)
    np.testing.assert_allclose(found[0], values / white, atol=1e-6)


def test_what_is_no_prior_is_refused_by_name(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, planes(2))
    with pytest.raises(DataError, match=r"a\.npy has the shape \(2, 6, 8\), but \(3, rows.*b"):
        read_prior(path, TWO, MAPS, SIZE)
    with pytest.raises(DataError, match=r"a\.npy is 6x8, but its image image.png is 8x6"):
        read_prior(path, ONE, MAPS, (8, 6))
    for wrong in (np.full(SIZE, 3.5), np.full(SIZE, np.nan), np.full(SIZE, -1.0)):
        with pytest.raises(DataError, match=r"probabilities, 0 to 1, are wanted\. Of logits"):
            check_prior(wrong, ONE, "it")
    with pytest.raises(DataError, match=r"may be a label map: then set data\.priors\.kind to mask"):
        check_prior(np.full(SIZE, 3.0), ONE, "it")


# Hard masks


def test_doubt_falls_with_the_distance_from_the_edge():
    bits = np.zeros((1, 1, 12), dtype=bool)
    bits[..., 6:] = True
    settings = Priors(kind="mask", softness_px=2.0, least=0.1)
    found = soften(bits[:, None], ONE, settings)[0, 0, 0]
    # the edge runs between pixels 5 and 6
    logistic = 1 / (1 + np.exp(-(np.arange(12) - 5.5) / 2.0))
    np.testing.assert_allclose(found, logistic.clip(0.1, 0.9), atol=1e-6)
    assert np.array_equal(found > 0.5, bits[0, 0])


@pytest.mark.parametrize("fill", [0, 1])
def test_a_mask_without_an_edge_has_the_least_doubt(fill):
    bits = np.full((1, 1, *SIZE), fill, dtype=bool)
    np.testing.assert_allclose(soften(bits, ONE, MASKS), 0.99 if fill else 0.01, atol=1e-6)


def test_exclusive_planes_add_up_and_keep_their_argmax(tmp_path):
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[2:9, 2:9], mask[9:14, 5:12] = 1, 2
    Image.fromarray(mask).save(tmp_path / "a.png")
    found = read_prior(tmp_path / "a.png", TWO, MASKS, (16, 16))
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(TWO.decode(found), mask)


def test_the_kind_chooses_between_files_of_one_name(tmp_path):
    for name in ("case_1.npz", "case_1.png"):
        (tmp_path / name).touch()
    # nnU-Net's image is case_1_0000.png
    assert find_prior(tmp_path, "case_1_0000", "probability").name == "case_1.npz"
    assert find_prior(tmp_path, "case_1", "mask").name == "case_1.png"
    with pytest.raises(DataError, match=r"holds no prior of case_2: case_2\.npz or another"):
        find_prior(tmp_path, "case_2", "probability")


# Training


def case_of(folder, image, prior):
    np.save(folder / "image.npy", image)
    np.save(folder / "prior.npy", prior)
    np.save(folder / "mask.npy", np.ones(image.shape[-2:], dtype=np.uint8))
    path = folder / "prior.npy"
    return Case("a", folder / "image.npy", folder / "mask.npy", None, "a", prior=path)


@pytest.mark.parametrize("size", [None, (64, 96)])
def test_a_cases_prior_is_resized_with_its_image(tmp_path, size):
    image, prior = np.full((3, 32, 48), 51, dtype=np.uint8), np.full((32, 48), 0.25)
    reading = Reading(ONE, 3, Intensity(), size=size, priors=MAPS)
    item = LoadedCases([case_of(tmp_path, image, prior)], reading)[0]
    assert item["prior"].shape == (1, *(size or (32, 48)))
    assert torch.allclose(item["prior"], torch.tensor(0.25))


def test_a_case_without_its_prior_is_refused(tmp_path):
    case = case_of(tmp_path, np.zeros((3, 32, 48), dtype=np.uint8), np.zeros((32, 48)))
    bare = Case(case.name, case.image, case.mask, None, "a")
    with pytest.raises(DataError, match="case a has no prior"):
        LoadedCases([bare], Reading(ONE, 3, Intensity(), priors=MAPS))


@pytest.mark.parametrize("change", ["shape", "brightness"])
def test_a_patchs_prior_is_cut_and_turned_with_its_image_and_keeps_its_values(tmp_path, change):
    draws = np.random.default_rng(0)
    prior = draws.random((96, 96))
    # the first channel is the prior itself: whatever happens to places happens to both
    image = np.stack([prior, prior, prior])
    case = case_of(tmp_path, image, prior)
    reading = Reading(ONE, 3, Intensity(full_scale=1.0), priors=MAPS)
    item = LoadedCases([case], reading).stored(0)
    shape = {"flip_horizontal": 0.5, "flip_vertical": 0.5, "rotate90": 0.75, "affine": 0.5}
    light = {"gamma": 1.0, "contrast": 1.0, "brightness": 1.0, "tint": 1.0, "noise": 1.0}
    augmentation = Augmentation(**(shape if change == "shape" else light))
    transform = training_transform((64, 64), augmentation, 0.5, ONE)
    for seed in range(8):
        cut = transform.set_random_state(seed=seed)(item)
        patch = torch.cat([cut["image"], cut["prior"]])
        assert patch.shape == (4, 64, 64)
        if change == "shape":  # unit: 0..1 became -1..1
            assert torch.allclose((patch[0] + 1) / 2, patch[3], atol=1e-5)
        else:
            assert not torch.allclose((patch[0] + 1) / 2, patch[3], atol=1e-2)
            assert patch[3].min() >= 0 and patch[3].max() <= 1
            values = torch.isin(patch[3], item["prior"])
            assert values.all()
