"""Layers are proposed at the strides that a network has, found by running it once."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from monai.networks.nets.basic_unet import BasicUNet
from monai.networks.nets.swin_unetr import SwinUNETR
from torch import nn
from torch.testing import assert_close

from hidiff.segmentors import propose_features, wrap


def conv(a, b, stride=1):
    return nn.Sequential(nn.Conv2d(a, b, 3, stride=stride, padding=1), nn.BatchNorm2d(b), nn.ReLU())


class Plain(nn.Module):
    """Down to stride 32 and up to 8 again, then a head."""

    def __init__(self):
        super().__init__()
        self.stem = conv(3, 4, 4)
        self.down8 = conv(4, 5, 2)
        self.down16 = conv(5, 6, 2)
        self.down32 = conv(6, 7, 2)
        self.up16 = conv(7, 8)
        self.up8 = conv(8, 9)
        self.head = nn.Conv2d(9, 2, 1)

    def forward(self, image):
        deep = self.down32(self.down16(self.down8(self.stem(image))))
        deep = self.up16(nn.functional.interpolate(deep, scale_factor=2.0))
        return self.head(self.up8(nn.functional.interpolate(deep, scale_factor=2.0)))


def test_the_last_whole_block_of_each_stride_is_proposed_and_no_head():
    assert propose_features(Plain()) == {4: "stem", 8: "up8", 16: "up16", 32: "down32"}


def test_a_head_is_better_than_nothing():
    network = nn.Sequential(nn.Conv2d(3, 2, 4, stride=4))
    assert propose_features(network) == {4: "0"}


@pytest.mark.parametrize(
    ("strides", "proposed"),
    [((2, 8), {4: "0", 8: "1"}), ((1, 2, 4), {2: "1", 8: "2"}), ((1,), {1: "0"})],
)
def test_without_stride_4_the_nearest_finer_one_is_proposed(strides, proposed):
    convs, before = [], 3
    for number, stride in enumerate(strides):
        convs.append(conv(before, 4 + number, stride))
        before = 4 + number
    network = nn.Sequential(*convs, nn.Conv2d(before, 1, 1))
    total, wanted = 1, {}
    for number, stride in enumerate(strides):
        total *= stride
        wanted[total] = str(number)
    finer = max((s for s in wanted if s < 4), default=None)
    expected = {s: n for s, n in wanted.items() if s >= 4 or (4 not in wanted and s == finer)}
    assert propose_features(network) == expected


def test_what_lies_beyond_stride_32_alone_is_refused_with_what_was_found():
    network = nn.Sequential(nn.Conv2d(3, 5, 64, stride=64), nn.Conv2d(5, 1, 1))
    words = r"no layer of Sequential gives features.*stride 64: 0 \(5 channels\).*features=\{\}"
    with pytest.raises(ValueError, match=words):
        wrap(network)


def test_a_search_leaves_no_trace():
    network = Plain().train()
    network.stem.eval()
    before = copy.deepcopy(network.state_dict())
    propose_features(network)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert network.training and not network.stem.training
    assert not any(module._forward_hooks for module in network.modules())


def test_features_left_out_are_the_proposed_ones():
    image, network = torch.randn(2, 3, 64, 64), Plain().eval()
    found, named = wrap(network)(image), wrap(network, propose_features(network))(image)
    for left, right in zip(found.features, named.features, strict=True):
        assert_close(left, right)
    assert wrap(network).feature_channels == (4, 9, 8, 7)


def test_a_u_nets_decoder_is_found():
    network = BasicUNet(2, 1, 3, features=(8, 8, 16, 32, 64, 8), norm="batch")
    # stride 32 it has not
    assert propose_features(network, 1) == {4: "upcat_3", 8: "upcat_4", 16: "down_4"}


def test_a_transformer_whose_maps_have_channels_last_is_understood():
    pytest.importorskip("einops", reason="MONAI's Swin transformer needs einops")
    network = SwinUNETR(in_channels=1, out_channels=2, feature_size=12, spatial_dims=2)
    segmentor = wrap(network, image_channels=1).eval()
    logits, features, _ = segmentor(torch.randn(1, 1, 64, 64))
    assert logits.shape == (1, 2, 64, 64)
    assert [tuple(f.shape[2:]) for f in features] == [(16, 16), (8, 8), (4, 4), (2, 2)]


class Meeting(nn.Module):
    """Lets two threads run its feature layer one after the other, between two meetings."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 4, stride=4)
        self.head = nn.Conv2d(4, 1, 1)
        self.meeting = None

    def forward(self, image):
        self._meet()  # both have their hooks by now
        features = self.body(image)
        self._meet()  # both have run the layer, and neither has read what it caught
        return nn.functional.interpolate(self.head(features), scale_factor=4.0)

    def _meet(self):
        if self.meeting is not None:
            self.meeting.wait(timeout=60)


def test_threads_catch_the_features_of_their_own_images():
    segmentor = wrap(Meeting().eval(), {4: "body"})
    images = [torch.full((1, 3, 64, 64), value) for value in (0.0, 1.0)]
    with torch.no_grad():
        alone = [segmentor(image).features[0] for image in images]
        segmentor.network.meeting = threading.Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            together = list(pool.map(torch.no_grad()(segmentor), images))
    assert not torch.equal(*alone)
    for own, wanted in zip(together, alone, strict=True):
        assert_close(own.features[0], wanted, rtol=0, atol=0)
