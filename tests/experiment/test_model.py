"""One call from Python: models, images in every form, and the scale of their values."""

import io
import pickle
from concurrent.futures import ThreadPoolExecutor

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import hidiff
from hidiff import weights
from hidiff.experiment import checkpoint_metadata, make_hybrid
from hidiff.images import Intensity, check_range, rescale
from hidiff.images.in_memory import image_of_array
from hidiff.training.stages import IN_TURNS
from tests.tiny import make_tiny, shake

NAMES = ("labels", "prior_labels", "uncertainty")


def save_model(folder, **changes):
    """Write an untrained model whose masks depend on the image, as a checkpoint."""
    recipe = make_tiny(folder, refiner={"precision": "real"}, **changes)
    hybrid = shake(make_hybrid(recipe), size=1.0)
    with torch.no_grad():
        hybrid.segmentor.network.final_conv.weight *= 20
    tensors = {f"segmentor.{k}": v for k, v in hybrid.segmentor.state_dict().items()}
    tensors |= {f"refiner.{k}": v for k, v in hybrid.refiner.state_dict().items()}
    path = folder / "model.safetensors"
    weights.save(path, tensors, {**checkpoint_metadata(recipe), "stage": IN_TURNS.name})
    return path


@pytest.fixture(scope="module")
def colour(tmp_path_factory):
    return hidiff.load(save_model(tmp_path_factory.mktemp("colour")))


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A model of volumes with one channel and any scale."""
    data = {"channels": 1, "intensity": {"kind": "zscore"}}
    return hidiff.load(save_model(tmp_path_factory.mktemp("scans"), data=data))


def make_image(height=48, width=56, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def same(left, right):
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in NAMES)


# The model


def test_a_model_says_what_it_is():
    model = hidiff.load("vessels")
    assert (model.name, model.labels.class_names) == ("vessels", ("vessel",))
    assert model.card.startswith("---") and "CHASE_DB1" in model.notice
    assert "3 channels, values of 0..255" in repr(model)
    assert model.recipe.data.size == (576, 600) and model.refines


def test_your_own_model_has_the_name_of_its_recipe_and_no_card(colour):
    assert (colour.name, colour.card, colour.notice) == ("tiny", "", "")


@pytest.mark.parametrize("paths", [1, 2])
def test_a_model_pickles_as_its_path_and_predicts_the_same(colour, paths):
    model = hidiff.load([colour.path] * paths)
    content = pickle.dumps(model)
    assert len(content) < 2000
    assert same(model.predict(make_image()), pickle.loads(content).predict(make_image()))


@pytest.mark.parametrize("name", ["vessels", "tiny"])
def test_threads_get_the_answers_of_turns(colour, name):
    model = hidiff.load("vessels") if name == "vessels" else colour
    images = [make_image(64 + 8 * (n % 2), 64, seed=n) for n in range(4)]
    options = {"steps": 1, "name": "a"}
    in_turns = [model.predict(image, **options) for image in images]
    with ThreadPoolExecutor(2) as pool:
        at_once = list(pool.map(lambda image: model.predict(image, **options), images))
    assert all(same(*pair) for pair in zip(in_turns, at_once, strict=True))
    assert not same(in_turns[0], in_turns[2])


# Forms of an image


def test_a_file_and_its_content_in_every_form_are_one_image(colour, tmp_path):
    pixels, path = make_image(), tmp_path / "eye.png"
    Image.fromarray(pixels).save(path)
    expected = colour.predict(path, samples=2)
    tensor = torch.from_numpy(pixels)
    with open(path, "rb") as file, Image.open(path) as picture:
        forms = [pixels, tensor, tensor.float(), path.read_bytes(), str(path)]
        for form in (*forms, io.BytesIO(path.read_bytes())):
            assert same(expected, colour.predict(form, name="eye", samples=2))
        assert colour.predict(file).name == colour.predict(picture).name == "eye"


@pytest.mark.parametrize("format", ["png", "jpeg", "tiff", "bmp", "npy"])
def test_bytes_are_told_apart_by_what_they_hold(colour, tmp_path, format):
    path = tmp_path / f"a.{format}"
    if format == "npy":
        np.save(path, make_image().transpose(2, 0, 1))
    else:
        Image.fromarray(make_image()).save(path)
    assert same(colour.predict(path), colour.predict(path.read_bytes(), name="a"))


def test_a_list_gives_a_list_and_an_error_says_which(colour):
    images = [make_image(seed=n) for n in range(2)]
    found = colour.predict(images, name=["a", "b"])
    assert [each.name for each in found] == ["a", "b"]
    assert same(found[1], colour.predict(images[1], name="b"))
    with pytest.raises(ValueError, match=r"image 2 of 2: .*grey"):
        colour.predict([images[0], images[1][..., 0]])
    with pytest.raises(ValueError, match="a list of 2 is wanted"):
        colour.predict(images, name="a")


def test_volumes_in_every_form_are_one_image(scans, tmp_path):
    values = np.random.default_rng(0).normal(100, 30, (20, 24, 3)).astype(np.float32)
    affine = np.array([[-2, 0, 0, 5], [0, 1.5, 0, 0], [0, 0, 4, 1], [0, 0, 0, 1]], float)
    image, path = nibabel.Nifti1Image(values, affine), tmp_path / "a.nii.gz"
    nibabel.save(image, path)
    expected = scans.predict(path, keep_probability=True)
    assert expected.labels.shape == (20, 24, 3)
    forms = [(image, {}), (path.read_bytes(), {}), (values, {"affine": affine})]
    for form, options in forms:
        found = scans.predict(form, name="a", keep_probability=True, **options)
        assert same(expected, found)
        assert np.allclose(found.geometry.grid.affine, affine)


def test_slices_with_a_spacing_are_a_volume(scans):
    slices = np.random.default_rng(0).normal(100, 30, (3, 40, 50))
    found = scans.predict(slices, spacing_mm=(5, 0.7, 0.8))
    assert found.labels.shape == (3, 40, 50)
    assert found.geometry.spacing_mm == pytest.approx((5, 0.7, 0.8))
    with pytest.raises(ValueError, match=r"40, 50\).*spacing_mm=\(between slices"):
        scans.predict(slices)
    with pytest.raises(ValueError, match="three lengths above 0"):
        scans.predict(slices, spacing_mm=(1, 0, 1))
    with pytest.raises(ValueError, match="leave one out"):
        scans.predict(slices, spacing_mm=(1, 1, 1), affine=np.eye(4))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (make_image().transpose(2, 0, 1), "channels come first"),
        (torch.zeros(3, 8, 8), r"channels come first.*movedim\(0, -1\)"),
        (make_image()[..., 0], r"grey.*np\.stack"),
        (np.zeros((2, 8, 8, 3)), r"as a list"),
        (np.zeros((8, 8, 4)), r"image\[\.\.\., :3\]"),
        (make_image() > 9, "True and False"),
        (make_image().astype(object), "array of object"),
        (b"", "no bytes"),
        (b"abcdefghij", "no known kind of file"),
        (7, "the image is a int"),
        ({"image": 1}, "the image is a dict"),
    ],
)
def test_what_is_no_such_image_is_refused_in_a_line(colour, image, words):
    with pytest.raises(ValueError, match=words):
        colour.predict(image)


# The scale of the values


@pytest.mark.parametrize("factor", [1 / 255, 1.02 / 255, 257.0, 1 / 65535])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_values_on_another_scale_are_refused_and_rescaled_on_request(colour, factor, dtype):
    pixels = make_image()
    scaled = np.clip(pixels * factor, None, np.finfo(dtype).max).astype(dtype)
    with pytest.raises(ValueError, match=r"values run from 0 to .*0\.\.255.*value_range="):
        colour.predict(scaled)
    if dtype == "f8":
        ends = (0, 255 * factor)
        own, rescaled = colour.predict(pixels), colour.predict(scaled, value_range=ends)
        # Rescaling rounds, and a rounded value may turn a bit of the 1-bit network.
        assert np.abs(own.probability - rescaled.probability).mean() < 0.02
        assert (own.labels == rescaled.labels).mean() > 0.98


def test_a_dark_array_is_taken_where_its_scale_is_certain(colour):
    dark = make_image() // 200
    expected = colour.predict(dark)
    assert same(expected, colour.predict(dark.astype(float), value_range=(0, 255)))
    assert same(expected, colour.predict(np.zeros_like(dark) + dark))
    with pytest.raises(ValueError, match=r"value_range=\(0, 1\)"):
        colour.predict(dark.astype(float))
    with pytest.raises(ValueError, match=r"value_range is \(0, 1\), but .* 0 to 255"):
        colour.predict(make_image(), value_range=(0, 1))


def test_a_file_of_fractions_is_refused_by_name(colour, tmp_path):
    np.save(tmp_path / "a.npy", (make_image().transpose(2, 0, 1) / 255).astype(np.float32))
    with pytest.raises(ValueError, match=r"a\.npy.*run from 0 to 1"):
        colour.predict(tmp_path / "a.npy")


@settings(max_examples=150, deadline=None)
@given(
    full_scale=st.sampled_from([1.0, 255.0, 4095.0, 65535.0]),
    white=st.sampled_from([1.0, 100.0, 255.0, 4095.0, 65535.0]),
    signed=st.booleans(),
    dtype=st.sampled_from(["u1", "u2", "i2", "i4", "f4", "f8", "?"]),
    brightest=st.floats(0.3, 1),
)
def test_any_scale_and_type_is_refused_or_reads_as_the_file(
    full_scale, white, signed, dtype, brightest
):
    """An image whose brightest pixel is at least 0.3 of white, on any scale and in any type."""
    share = np.random.default_rng(0).random((6, 7)) * brightest
    share.flat[:2] = 0, brightest
    stretched = white * (2 * share - 1) if signed else white * share
    whole = np.dtype(dtype).kind in "ui"
    if (
        whole
        and not np.iinfo(dtype).min <= stretched.min() <= stretched.max() <= np.iinfo(dtype).max
    ):
        return
    array = stretched.astype(dtype)
    intensity = Intensity(full_scale=full_scale)
    image = image_of_array(array, 1)
    fits = not signed and white == full_scale and not (whole and white == 1)
    try:
        check_range(image, intensity)
    except ValueError as error:
        assert not fits or dtype == "?", error
        return
    values = image.values[0, 0]
    if fits:
        assert np.abs(values - share * full_scale).max() <= (1 if whole else full_scale * 1e-6)
        again = rescale(image, (0, full_scale), intensity).values[0, 0]
        assert np.allclose(again, values, rtol=1e-6)
        return
    # Accepted on another scale: a type that is certain, or a scale too near to tell the two apart.
    assert not signed
    black = values.max() == values.min()
    certain = dtype == "u1" and full_scale == 255
    assert black or certain or values.max() > full_scale / 16


# One call


def test_segment_loads_predicts_and_writes(colour, tmp_path):
    folder, output = tmp_path / "eyes", tmp_path / "masks"
    folder.mkdir()
    for name in ("a", "b"):
        Image.fromarray(make_image(seed=ord(name))).save(folder / f"{name}.png")
    (folder / "notes.txt").write_text("not an image")
    found = hidiff.segment(folder, model=colour.path, output=output)
    assert [each.name for each in found] == ["a", "b"]
    written = np.asarray(Image.open(output / "a_labels.png"))
    assert np.array_equal(written > 0, found[0].labels > 0)
    one = hidiff.segment(folder / "a.png", model=colour, output=output, overwrite=True)
    assert same(one, found[0])


def test_segment_overwrites_nothing_and_says_so_before_it_loads(colour, tmp_path):
    image = make_image()
    hidiff.segment(image, colour, tmp_path, name="a")
    with pytest.raises(FileExistsError, match=r"a mask of a already.*overwrite=True"):
        hidiff.segment(image, "no such model", tmp_path, name="a")
    with pytest.raises(ValueError, match="1 names stand for several images, a among them"):
        hidiff.segment([image, image], colour, tmp_path, name=["a", "a"])
    with pytest.raises(FileNotFoundError, match="holds no image"):
        (tmp_path / "empty").mkdir()
        hidiff.segment(tmp_path / "empty", colour)
