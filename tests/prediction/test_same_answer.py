"""One seed, one answer: again bit for bit; by other windows and batches on 999 pixels of 1000."""

import numpy as np
import pytest
import torch
from torch import nn

from hidiff.experiment import make_hybrid, make_predictor
from hidiff.hybrid import HybridSegmentor
from hidiff.refiner import Refiner
from hidiff.segmentors import wrap
from tests.tiny import make_tiny, shake

IMAGE = np.random.default_rng(0).integers(0, 256, (100, 130, 3), dtype=np.uint8)


class Pointwise(nn.Module):
    """Logits that depend on their own pixel alone, so that no window can hide anything."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(3, 1, 1)
        self.down = nn.AvgPool2d(4)

    def forward(self, image):
        self.down(image)
        return self.head(image)


@pytest.fixture(scope="module")
def pointwise(tmp_path_factory):
    """An untrained residual refiner adds nothing: its masks come of prior and draws alone."""
    recipe = make_tiny(tmp_path_factory.mktemp("same"), diffusion={"target": "residual"})
    torch.manual_seed(0)
    segmentor = wrap(Pointwise(), features={4: "down"})
    with torch.no_grad():
        segmentor.network.head.weight *= 5
    refiner = Refiner(3, 1, segmentor.feature_channels, recipe.refiner)
    hybrid = HybridSegmentor(segmentor, refiner, recipe.labels, recipe.diffusion)
    return make_predictor(hybrid, recipe)


# The last two are higher, and larger, than the image.
CUTS = [(64, 0.5), (64, 0.0), (128, 0.25), (160, 0.0)]


@pytest.mark.parametrize(("side", "overlap"), CUTS)
def test_how_an_image_is_cut_adds_nothing_of_its_own(pointwise, side, overlap):
    work = {"name": "a", "steps": 2, "temperature": 1.0}
    plain = pointwise.predict(IMAGE, overlap=0.25, **work)
    other = pointwise.predict(IMAGE, window_size=(side, side), overlap=overlap, **work)
    assert 0.05 < plain.labels.mean() < 0.95
    assert not np.array_equal(plain.labels, plain.prior_labels)
    assert (plain.labels == other.labels).mean() >= 0.999
    assert (plain.prior_labels == other.prior_labels).mean() >= 0.999


def test_1_bit_layers_and_draws_answer_alike_to_the_last_digit(tmp_path):
    recipe = make_tiny(tmp_path, prediction={"samples": 2, "steps": 2})
    predictor = make_predictor(shake(make_hybrid(recipe)), recipe)
    case = f"{recipe.data.path}/images/case-000.png"
    first, again = predictor.predict(case), predictor.predict(case)
    names = ("labels", "probability", "uncertainty", "prior", "variance")
    assert all(np.array_equal(getattr(first, name), getattr(again, name)) for name in names)
