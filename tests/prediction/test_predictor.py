"""Images of any size in, masks of that size out, the same whenever asked."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hidiff import seeding
from hidiff.diffusion import subset
from hidiff.experiment import make_hybrid, make_predictor
from tests.tiny import make_tiny, shake

KINDS = {"one_class": 1, "exclusive": 3, "regions": 2}


@pytest.fixture(scope="module")
def predictors(tmp_path_factory):
    """One predictor a kind of labels, with weights that have opinions; real-valued, as the sign of
    a 1-bit layer may turn on a rounding."""
    folder = tmp_path_factory.mktemp("predictors")
    found = {}
    for kind in KINDS:
        recipe = make_tiny(folder, kind, refiner={"precision": "real"})
        hybrid = shake(make_hybrid(recipe), size=1.0)
        with torch.no_grad():
            hybrid.segmentor.network.final_conv.weight *= 20
        found[kind] = make_predictor(hybrid, recipe)
    return found


@pytest.fixture
def predictor(predictors):
    return predictors["one_class"]


def make_image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def same(left, right):
    names = ("labels", "probability", "uncertainty", "prior", "prior_labels")
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in names)


# Sizes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (1, 37), (63, 65), (64, 64), (90, 131)])
def test_what_comes_out_has_the_size_of_what_went_in(predictors, kind, size):
    planes = KINDS[kind]
    p = predictors[kind].predict(make_image(*size), samples=2, steps=1, trace=True)
    flat = (planes, *size) if kind == "regions" else size
    assert p.labels.shape == p.prior_labels.shape == p.uncertainty.shape == flat
    assert p.labels.dtype == np.uint8
    assert p.variance is not None
    maps = [p.probability, p.prior, p.variance, *p.trace[0][1:]]
    assert {each.shape for each in maps} == {(planes, *size)}
    assert {each.dtype for each in [*maps, p.uncertainty]} == {np.dtype(np.float32)}
    assert all(np.isfinite(each).all() for each in maps)


@settings(max_examples=5)
@given(height=st.integers(1, 150), width=st.integers(1, 150))
def test_any_array_in_same_size_out(predictors, height, width):
    found = predictors["one_class"].predict(make_image(height, width), steps=1)
    assert found.labels.shape == (height, width)
    assert found.probability.min() >= 0 and found.probability.max() <= 1


def test_images_are_resized_and_masks_resized_back(tmp_path):
    recipe = make_tiny(tmp_path, data={"size": [64, 96]})
    predictor = make_predictor(make_hybrid(recipe), recipe)
    found = predictor.predict(make_image(41, 200), steps=1, trace=True)
    assert found.probability.shape == found.trace[0][1].shape == (1, 41, 200)
    assert set(np.unique(found.trace[0][1])) <= {0, 1}


# The same answer


def test_one_seed_gives_one_answer_and_another_another(predictor):
    image, changes = make_image(70, 80), {"steps": 2, "temperature": 1.0}
    first = predictor.predict(image, **changes)
    torch.manual_seed(7)
    assert same(first, predictor.predict(image, **changes))
    other = predictor.predict(image, seed=1, **changes)
    assert not same(first, other)
    assert np.array_equal(first.prior, other.prior)
    assert not same(first, predictor.predict(image, name="another case", **changes))


def test_one_sample_leaves_nothing_to_chance_and_several_draw_at_a_half(predictor):
    image = make_image(64, 64)
    alone = predictor.predict(image, steps=2, trace=True)
    assert np.array_equal(alone.trace[0][1], alone.prior > 0.5)
    assert same(alone, predictor.predict(image, steps=2, seed=1))
    assert not same(alone, predictor.predict(image, steps=2, temperature=0.5))
    several = predictor.predict(image, steps=2, samples=2)
    assert same(several, predictor.predict(image, steps=2, samples=2, temperature=0.5))
    assert not same(several, predictor.predict(image, steps=2, samples=2, seed=1))


def test_windows_at_once_do_not_matter(predictor):
    image = make_image(100, 120)
    alone = predictor.predict(image, windows=1, steps=2, temperature=1.0)
    together = predictor.predict(image, windows=8, steps=2, temperature=1.0)
    assert 0.05 < alone.labels.mean() < 0.95
    assert (alone.labels == together.labels).mean() >= 0.999
    assert (alone.prior_labels == together.prior_labels).mean() >= 0.999


def test_a_larger_window_sees_the_whole_image_at_once(predictor, monkeypatch):
    image, seen = make_image(100, 120), []
    forward = predictor.hybrid.segmentor.forward

    def look(image):
        seen.append(tuple(image.shape[2:]))
        return forward(image)

    monkeypatch.setattr(predictor.hybrid.segmentor, "forward", look)
    predictor.predict(image, window_size=(128, 160), steps=1)
    assert seen == [(128, 160)]


def test_windows_of_another_size_than_the_segmentor_takes_are_refused(predictor, monkeypatch):
    monkeypatch.setattr(predictor.hybrid.segmentor, "input_size", (64, 64))
    predictor.predict(make_image(64, 64), window_size=(64, 64), steps=1)
    with pytest.raises(ValueError, match=r"window_size is 96x96, but .* 64x64 only"):
        predictor.predict(make_image(64, 64), window_size=(96, 96), steps=1)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6])
def test_draws_belong_to_the_pixels_of_the_whole_image(tmp_path, overlap):
    recipe = make_tiny(tmp_path)
    hybrid = make_hybrid(recipe)
    with torch.no_grad():  # a prior of 0.5 everywhere
        hybrid.segmentor.network.final_conv.weight.zero_()
        hybrid.segmentor.network.final_conv.bias.zero_()
    found = make_predictor(hybrid, recipe).predict(
        make_image(100, 140),
        name="eye",
        steps=1,
        seed=3,
        temperature=1.0,
        trace=True,
        overlap=overlap,
    )
    draws = seeding.uniform_window(
        3, "eye", 0, 0, 4, planes=1, top=0, left=0, height=100, width=140
    )
    ((t, yt, _),) = found.trace
    assert t == 4
    assert np.array_equal(yt, (draws < 0.5).numpy())


# Samples and steps


@pytest.mark.parametrize("kind", KINDS)
def test_the_probability_is_the_mean_of_the_samples(predictors, kind):
    predictor, planes = predictors[kind], KINDS[kind]
    image = make_image(64, 64)
    found = predictor.predict(image, name="a", samples=3, steps=2, seed=5, temperature=1.0)

    tensor = torch.from_numpy(image).permute(2, 0, 1)[None] * (2 / 255) - 1
    with torch.no_grad():
        look = predictor.hybrid.look(tensor)
        samples = []
        for sample in range(3):

            def uniform(t, sample=sample):
                place = {"planes": planes, "top": 0, "left": 0, "height": 64, "width": 64}
                return seeding.uniform_window(5, "a", 0, sample, t, **place)[None]

            *_, (last,) = predictor.hybrid.refine(tensor, look, subset(4, 2), [uniform])
            samples.append(last.y0_hat[0])
    expected = torch.stack(samples)
    mean = expected.mean(dim=0)
    if kind == "exclusive":
        mean = mean / mean.sum(dim=0, keepdim=True)
    np.testing.assert_allclose(found.probability, mean.numpy(), atol=1e-4)
    np.testing.assert_allclose(found.prior, look.prior[0].numpy(), atol=1e-4)
    variance = expected.var(dim=0, unbiased=False)
    np.testing.assert_allclose(found.variance, variance.numpy(), atol=1e-4)
    assert found.variance.max() > 1e-3


def test_one_sample_has_no_variance(predictor):
    assert predictor.predict(make_image(64, 64), steps=1).variance is None


def test_exclusive_planes_sum_to_one(predictors):
    found = predictors["exclusive"].predict(make_image(80, 100), samples=2, steps=2)
    np.testing.assert_allclose(found.probability.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(found.prior.sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(found.labels, found.probability.argmax(axis=0))
    assert found.uncertainty.min() >= 0 and found.uncertainty.max() <= np.log2(3) + 1e-5


@pytest.mark.parametrize("kind", ["one_class", "regions"])
def test_the_uncertainty_of_a_plane_is_at_most_a_bit(predictors, kind):
    found = predictors[kind].predict(make_image(80, 64), samples=2, steps=2)
    assert found.uncertainty.min() >= 0 and found.uncertainty.max() <= 1 + 1e-6


@pytest.mark.parametrize("steps", [1, 2, 3, 4, None, 9])
def test_the_trace_shows_every_step_from_t_down(predictor, steps):
    found = predictor.predict(make_image(64, 64), steps=steps, trace=True)
    wanted = subset(4, min(steps or 1, 4))
    assert [t for t, _, _ in found.trace] == wanted
    assert all(set(np.unique(yt)) <= {0, 1} for _, yt, _ in found.trace)
    np.testing.assert_allclose(found.trace[-1][2], found.probability, atol=1e-6)
    assert predictor.predict(make_image(64, 64), steps=steps).trace == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_untrained_residual_refiner_returns_the_prior_in_one_step(tmp_path, kind):
    recipe = make_tiny(tmp_path, kind, diffusion={"schedule": "uniform"})
    found = make_predictor(make_hybrid(recipe), recipe).predict(make_image(70, 90), steps=1)
    np.testing.assert_allclose(found.probability, found.prior, atol=1e-5)


@pytest.mark.parametrize("rule", ["half", "expected_dice"])
@pytest.mark.parametrize("kind", KINDS)
def test_outside_the_lit_view_all_is_background(predictors, kind, rule):
    image = make_image(64, 96)
    image[:, :30] = 0
    whole, cut = (
        predictors[kind].predict(image, samples=2, steps=1, rule=rule, lit_view=lit)
        for lit in (False, True)
    )
    black = np.s_[..., :26]  # but for what the view's blur takes in
    assert not cut.labels[black].any() and not cut.prior_labels[black].any()
    assert not cut.uncertainty[black].any() and not cut.variance[black].any()
    classes = predictors[kind].labels.class_planes
    assert not cut.probability[classes][black].any() and not cut.prior[classes][black].any()
    if kind == "exclusive":
        np.testing.assert_allclose(cut.probability.sum(axis=0), 1, atol=1e-5)
    assert whole.probability[classes][black].any()
    for name in ("labels", "probability", "uncertainty", "prior", "prior_labels", "variance"):
        left, right = (getattr(each, name)[..., 32:] for each in (whole, cut))
        assert np.array_equal(left, right)


def test_without_refining_the_prior_is_the_answer(predictor, monkeypatch):
    image = make_image(70, 90)
    prior = predictor.predict(image, steps=1).prior
    monkeypatch.setattr(predictor.hybrid.refiner, "denoise", None)
    found = predictor.predict(image, refine=False, samples=4)
    assert np.array_equal(found.probability, found.prior)
    assert np.array_equal(found.prior, prior)
    assert np.array_equal(found.labels, found.prior_labels)
    assert found.variance is None and found.trace == []


def test_mirrored_looks_are_turned_back_and_averaged(predictor):
    image = make_image(64, 64)
    turned = [image, image[:, ::-1], image[::-1], image[::-1, ::-1]]
    priors = [predictor.predict(each.copy(), refine=False).prior for each in turned]
    back = [priors[0], priors[1][:, :, ::-1], priors[2][:, ::-1], priors[3][:, ::-1, ::-1]]
    found = predictor.predict(image, refine=False, mirror=True)
    np.testing.assert_allclose(found.prior, np.mean(back, axis=0), atol=1e-5)
    assert np.abs(found.prior - priors[0]).max() > 1e-3
    refined = predictor.predict(image, mirror=True, steps=1)
    np.testing.assert_allclose(refined.prior, found.prior, atol=1e-6)


def test_the_dice_rule_holds_for_the_prior_too(predictor):
    image = make_image(64, 64)
    half = predictor.predict(image, steps=1)
    best = predictor.predict(image, steps=1, rule="expected_dice")
    assert np.array_equal(half.probability, best.probability)
    # the best cut for Dice lies below 0.5: nothing is lost, something is found
    assert (best.labels >= half.labels).all() and best.labels.sum() > half.labels.sum()
    assert (best.prior_labels >= half.prior_labels).all()


# What an image may be


def test_a_file_a_picture_and_an_array_are_one_image(predictor, tmp_path):
    pixels, path, changes = make_image(40, 50), tmp_path / "eye.png", {"steps": 1, "samples": 2}
    Image.fromarray(pixels).save(path)
    from_array = predictor.predict(pixels, name="eye", **changes)
    with Image.open(path) as picture:
        assert same(from_array, predictor.predict(picture, name="eye", **changes))
    from_file = predictor.predict(str(path), **changes)
    assert from_file.name == "eye"  # of which the draws are a function
    assert same(from_array, from_file)
    assert same(from_array, predictor.predict(path, **changes))


def test_a_grey_picture_is_spread_over_the_channels_with_a_warning(predictor, tmp_path):
    grey, path = make_image(40, 50)[..., 0], tmp_path / "grey.png"
    Image.fromarray(grey).save(path)
    first = predictor.predict(np.stack([grey] * 3, axis=-1), name="grey", steps=1)
    for other in (Image.fromarray(grey), path, path.read_bytes()):
        with pytest.warns(UserWarning, match="the picture is grey"):
            assert same(first, predictor.predict(other, name="grey", steps=1))


def test_pictures_are_read_like_their_files(predictor, tmp_path):
    colour = Image.fromarray(make_image(40, 50))
    clear = colour.copy()
    clear.putalpha(7)
    turned = colour.copy()
    turned.getexif()[0x0112] = 6  # the camera was held upright
    pictures = {
        "palette": colour.convert("P"),
        "alpha": clear,
        "bits": colour.convert("1"),
        "turned": turned,
    }
    for name, picture in pictures.items():
        path = tmp_path / f"{name}.png"
        picture.save(path, exif=picture.getexif())
        from_picture = predictor.predict(picture, name=name, steps=1)
        assert same(predictor.predict(path, steps=1), from_picture), name
    assert from_picture.labels.shape == (50, 40)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((8, 8, 2), np.uint8), "2 channels, but the model was trained on 3"),
        (np.zeros((8, 8, 5), np.uint8), "5 channels"),
        (np.zeros((3, 64, 64), np.uint8), r"channels come first.*np\.moveaxis"),
        (np.zeros((8, 8), np.uint8), r"grey.*3 channels.*np\.stack"),
        (np.full((8, 8, 3), np.nan), "192 NaN and 0 infinite"),
        (np.array([[[0.0, np.inf, 1.0]]]), "0 NaN and 1 infinite"),
        (np.zeros((2, 8, 8, 3), np.uint8), r"shape \(2, 8, 8, 3\).*height, width"),
        (np.zeros((0, 8, 3), np.uint8), r"shape \(0, 8, 3\)"),
        (np.zeros(8, np.uint8), r"shape \(8,\)"),
        (np.full((8, 8, 3), 1000, np.uint16), r"1000.*0\.\.255.*full_scale"),
        (np.full((8, 8, 3), -1), "-1"),
    ],
)
def test_an_image_that_does_not_fit_is_refused(predictor, image, words):
    with pytest.raises(ValueError, match=words):
        predictor.predict(image)


@pytest.mark.parametrize(
    "changes", [{"steps": 0}, {"samples": 0}, {"rule": "best"}, {"sampels": 2}]
)
def test_settings_that_cannot_be_are_refused(predictor, changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        predictor.predict(make_image(8, 8), **changes)


def test_a_missing_file_is_refused_by_name(predictor, tmp_path):
    with pytest.raises(ValueError, match=r"none\.png is not there"):
        predictor.predict(tmp_path / "none.png")
