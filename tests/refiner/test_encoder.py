"""The refiner's own encoders: for a segmentor without features, and for features finer than its."""

import torch

from hidiff.refiner import Refiner, RefinerSettings
from hidiff.refiner.encoder import FineEncoder, ImageEncoder


def test_features_lie_at_strides_4_to_32():
    encoder = ImageEncoder(3, 8)
    features = encoder(torch.randn(2, 3, 64, 96))
    assert [tuple(feature.shape) for feature in features] == [
        (2, 8, 16, 24),
        (2, 16, 8, 12),
        (2, 32, 4, 6),
        (2, 64, 2, 3),
    ]
    assert encoder.feature_channels == (8, 16, 32, 64)


def test_fine_features_lie_at_strides_1_and_2_and_come_before_the_others():
    shapes = [(2, 8, 64, 96), (2, 8, 32, 48)]
    image, coarser = torch.randn(2, 3, 64, 96), [torch.randn(2, 4, 16, 24)] * 4
    assert [tuple(feature.shape) for feature in FineEncoder(3, 8)(image)] == shapes
    refiner = Refiner(3, 1, (4, 4, 4, 4), RefinerSettings(width=8, fine=True))
    seen = refiner.see(image, coarser)
    assert [tuple(feature.shape) for feature in seen[:2]] == shapes
    assert all(a is b for a, b in zip(seen[2:], coarser, strict=True))


def test_it_is_there_only_without_features_and_learns_from_the_refiners_loss():
    settings = RefinerSettings(width=8, precision="real")
    assert Refiner(3, 1, (4, 4, 4, 4), settings).image_encoder is None
    refiner = Refiner(3, 1, (), settings)
    torch.nn.init.normal_(refiner.output.weight)
    image, prior = torch.randn(2, 3, 64, 64), torch.rand(2, 1, 64, 64)
    refiner(image, prior.round(), prior, torch.tensor([1, 2]), ()).square().mean().backward()
    assert refiner.image_encoder is not None
    assert all(p.grad is not None and p.grad.any() for p in refiner.image_encoder.parameters())


def test_prepared_once_it_gives_what_a_whole_step_does():
    refiner = Refiner(3, 1, (), RefinerSettings(width=8)).eval()
    torch.nn.init.normal_(refiner.output.weight)
    image, prior, t = torch.randn(1, 3, 64, 64), torch.rand(1, 1, 64, 64), torch.tensor([2])
    prepared = refiner.prepare(refiner.see(image, ()))
    parts = refiner.denoise(image, prior, prior, t, refiner.condition(prepared, t))
    assert torch.equal(parts, refiner(image, prior, prior, t, ()))
