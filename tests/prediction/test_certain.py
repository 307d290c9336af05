"""Windows whose prior is certain everywhere keep it, and all others are refined as ever."""

import numpy as np
import pytest
import torch
from torch import nn

from hidiff import export
from hidiff.correction import CorrectionSettings, start_session
from hidiff.experiment import make_hybrid, make_predictor
from hidiff.prediction import Ensemble, PredictionSettings
from hidiff.prediction.certain import bound_of, certain_windows
from tests.tiny import make_tiny, shake

KINDS = ("one_class", "exclusive", "regions")
VARIANTS = {
    "float": {"precision": "real"},
    "packed": {"precision": "binary", "hints": True},
    "fine": {"precision": "real", "fine": True},
}
BOUND = 0.01
DARK, BRIGHT = slice(0, 64), slice(64, 128)  # columns of the first two windows
IN_WINDOWS = {"overlap": 0.0, "steps": 1}


class ByBrightness(nn.Module):
    """A segmentor that doubts bright pixels alone; all others it calls background, at 0.999."""

    def __init__(self, segmentor: nn.Module, exclusive: bool):
        super().__init__()
        self.segmentor = segmentor
        self.image_channels = segmentor.image_channels
        self.num_planes = segmentor.num_planes
        self.feature_channels = segmentor.feature_channels
        self.exclusive = exclusive

    def forward(self, image):
        output = self.segmentor(image)
        is_bright = image[:, 0] > 0
        logits = torch.full_like(output.logits, -7.0)
        if self.exclusive:
            logits[:, 0] = torch.where(is_bright, 0.0, 7.0)
        logits[:, -1] = torch.where(is_bright, 0.5, logits[:, -1])
        return output._replace(logits=logits)


def make_model(folder, kind="one_class", variant="float", **changes):
    """Return the predictor of a refiner that changes every pixel, behind ByBrightness."""
    recipe = make_tiny(folder, kind, refiner=VARIANTS[variant], **changes)
    hybrid = shake(make_hybrid(recipe), size=1.0).eval()
    if variant == "packed":
        hybrid.refiner = export.pack_refiner(hybrid.refiner, [4, 3, 2, 1])
    hybrid.segmentor = ByBrightness(hybrid.segmentor, kind == "exclusive")
    return make_predictor(hybrid, recipe)


def make_image():
    """Return a dark image of three windows, with one bright pixel in the one in the middle."""
    image = np.random.default_rng(0).integers(0, 100, (64, 192, 3), dtype=np.uint8)
    image[20, 90] = 255
    return image


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("certain"))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", KINDS)
def test_certain_windows_keep_the_prior_and_others_are_refined_as_ever(tmp_path, kind, variant):
    predictor = make_model(tmp_path, kind, variant)
    # alone in its batch, each window has the same bits
    changes = {**IN_WINDOWS, "samples": 2, "windows": 1}
    every = predictor.predict(make_image(), certain=0, **changes)
    fewer = predictor.predict(make_image(), certain=BOUND, **changes)
    assert np.array_equal(fewer.prior, every.prior)
    assert np.abs(every.probability - every.prior)[..., DARK].max() > 0.01
    kept, prior = fewer.probability[..., DARK], fewer.prior[..., DARK]
    np.testing.assert_allclose(kept, prior, rtol=0, atol=1e-6)
    assert fewer.variance[..., DARK].max() < 1e-6
    assert fewer.uncertainty[..., DARK].max() < 0.1
    for name in ("labels", "probability", "uncertainty", "variance"):
        assert np.array_equal(getattr(fewer, name)[..., BRIGHT], getattr(every, name)[..., BRIGHT])


def test_the_refiner_works_on_open_windows_alone(model, monkeypatch):
    sizes = []
    denoise = model.hybrid.refiner.denoise

    def count(image, *rest):
        sizes.append(len(image))
        return denoise(image, *rest)

    monkeypatch.setattr(model.hybrid.refiner, "denoise", count)
    model.predict(make_image(), certain=BOUND, **IN_WINDOWS)
    model.predict(np.zeros((64, 192, 3), np.uint8), certain=BOUND, **IN_WINDOWS)
    model.predict(make_image(), certain=0, **IN_WINDOWS)
    assert sizes == [1, 3]


def test_with_no_certain_window_all_bits_stay(model):
    every = model.predict(make_image(), certain=0, **IN_WINDOWS)
    fewer = model.predict(make_image(), certain=1e-6, **IN_WINDOWS)
    assert np.array_equal(every.probability, fewer.probability)


def test_certain_slices_of_a_volume_keep_the_prior(tmp_path):
    predictor = make_model(tmp_path, data={"channels": 1})
    volume = np.zeros((3, 64, 64), np.uint8)
    volume[1, 5, 5] = 255
    changes = {"spacing_mm": (1, 1, 1), "steps": 1, "keep_probability": True}
    every = predictor.predict(volume, certain=0, **changes)
    fewer = predictor.predict(volume, certain=BOUND, **changes)
    differ = np.abs(every.maps["probability"] - fewer.maps["probability"]).max(axis=(0, 2, 3))
    assert (differ > 0.01).tolist() == [True, False, True]
    assert np.array_equal(fewer.maps["probability"][:, 0], fewer.maps["prior"][:, 0])


def test_mirrored_copies_and_members_keep_the_prior_too(model):
    both = Ensemble([model, model]).predict(make_image(), certain=BOUND, mirror=True, **IN_WINDOWS)
    np.testing.assert_allclose(both.probability[..., DARK], both.prior[..., DARK], atol=1e-6)
    assert np.abs(both.probability - both.prior)[..., BRIGHT].max() > 0.01


def test_a_mark_opens_its_window(tmp_path):
    predictor = make_model(tmp_path, variant="packed")
    with torch.no_grad():
        predictor.hybrid.refiner.hint_input.weight.normal_()
    changes = {**IN_WINDOWS, "temperature": 0.0}
    predicted = predictor.predict(make_image(), certain=BOUND, **changes)
    near = CorrectionSettings(reach_px=40)
    session = start_session(predictor, make_image(), settings=near, certain=BOUND, **changes)
    assert np.array_equal(session.probability, predicted.probability)
    session.click((32, 30), "curve", radius=2)
    assert session.labels[32, 30] == 1
    others = start_session(predictor, make_image(), settings=near, certain=0, **changes)
    others.click((32, 30), "curve", radius=2)
    # the window of the mark is refined as ever, its neighbours are not
    inside = (slice(None), slice(0, 64), slice(0, 64))
    np.testing.assert_allclose(session.probability[inside], others.probability[inside], atol=1e-4)
    assert np.array_equal(session.probability[..., 128:], predicted.probability[..., 128:])


@pytest.mark.parametrize("low", [True, False])
def test_one_uncertain_pixel_of_one_plane_makes_a_window_uncertain(low):
    prior = torch.full((2, 3, 8, 8), 0.0005 if low else 0.9995)
    assert certain_windows(prior, 0.001).tolist() == [True, True]
    prior[1, 2, 3, 4] = 0.002
    assert certain_windows(prior, 0.001).tolist() == [True, False]
    assert certain_windows(torch.zeros(1, 1, 8, 8), 0.0).tolist() == [False]


def test_left_out_every_window_is_refined_and_so_it_is_by_the_dice_rule_and_with_a_trace():
    assert bound_of(PredictionSettings()) == 0
    assert bound_of(PredictionSettings(certain=0.2)) == 0.2
    assert bound_of(PredictionSettings(certain=0.2), trace=True) == 0
    assert bound_of(PredictionSettings(certain=0.2, rule="expected_dice")) == 0
