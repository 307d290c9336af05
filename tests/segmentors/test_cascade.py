"""The decoder of MERIT: what its attention may and may not do."""

import pytest
import torch
from torch.testing import assert_close

from hidiff.segmentors.cascade import Cascade, ChannelAttention, SpatialAttention


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_maps_keep_their_size_and_channels():
    features = [torch.randn(2, c, 16 // s, 24 // s) for c, s in [(4, 1), (8, 2), (12, 4), (16, 8)]]
    decoded = Cascade((4, 8, 12, 16))(features)
    assert [each.shape for each in decoded] == [each.shape for each in features]


def test_a_fine_map_depends_on_all_features_and_the_coarsest_on_its_own():
    features = [torch.randn(2, 8, 8 // s, 8 // s, requires_grad=True) for s in (1, 2, 4, 8)]
    decoded = Cascade((8, 8, 8, 8)).eval()(features)
    coarse = torch.autograd.grad(decoded[3].sum(), features, allow_unused=True, retain_graph=True)
    assert [gradient is not None for gradient in coarse] == [False, False, False, True]
    fine = torch.autograd.grad(decoded[0].square().sum(), features)
    assert all(gradient.any() for gradient in fine)


def test_channel_attention_weighs_whole_channels():
    x = torch.randn(2, 32, 5, 7)
    weight = ChannelAttention(32)(x) / x
    assert_close(weight, weight[:, :, :1, :1].expand_as(weight), rtol=1e-4, atol=1e-5)
    assert weight.min() > 0 and weight.max() < 1


def test_spatial_attention_weighs_whole_pixels():
    x = torch.randn(2, 6, 5, 7)
    weight = SpatialAttention()(x) / x
    assert_close(weight, weight[:, :1].expand_as(weight), rtol=1e-4, atol=1e-5)
    assert weight.min() > 0 and weight.max() < 1
