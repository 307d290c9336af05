"""Any nn.Module as a segmentor: what is caught, and what is refused."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import hidiff
from hidiff.segmentors import Segmentor, wrap


class Mine(nn.Module):
    """A network as a user has it: no word of HiDiff."""

    def __init__(self, planes: int = 2):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=4, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.deep = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Conv2d(6, planes, 1)
        self.spare = nn.Conv2d(6, 6, 1)
        self.seen: list[tuple] = []

    def forward(self, image):
        self.seen.append((tuple(image.shape), self.training))
        deep = self.deep(self.norm(self.stem(image)))
        return nn.functional.interpolate(self.head(deep), scale_factor=8.0)


def test_a_users_module_becomes_a_segmentor_with_its_own_logits():
    mine = Mine()
    segmentor = hidiff.wrap(mine, features={4: "stem", 8: "deep.0"})
    assert isinstance(segmentor, Segmentor)
    assert segmentor.image_channels == 3
    assert segmentor.num_planes == 2
    assert segmentor.feature_channels == (4, 6, 6, 6)
    image = torch.randn(2, 3, 64, 96)
    logits, features = segmentor(image)
    stem = mine.stem(image)
    assert_close(logits, mine(image))
    assert_close(features[0], stem)
    assert_close(features[1], mine.deep[0](mine.norm(stem)))
    assert [tuple(f.shape[2:]) for f in features] == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_the_trial_is_one_image_of_64_and_leaves_no_trace():
    mine = Mine().train()
    before = copy.deepcopy(mine.state_dict())
    wrap(mine, features={4: "stem"})
    assert {shape for shape, _ in mine.seen} == {(1, 3, 64, 64)}
    assert not any(training for _, training in mine.seen)
    assert mine.training
    assert all(torch.equal(before[k], v) for k, v in mine.state_dict().items())


def test_no_hook_stays_behind():
    segmentor = wrap(Mine(), features={4: "stem"})
    segmentor(torch.randn(1, 3, 64, 64))
    with pytest.raises(RuntimeError):
        segmentor(torch.randn(1, 2, 64, 64))
    assert not any(module._forward_hooks for module in segmentor.modules())


def test_a_copy_catches_its_own_layers():
    segmentor = wrap(Mine(), features={4: "stem"}).eval()
    image = torch.randn(1, 3, 64, 64)
    before = segmentor(image)
    twin = copy.deepcopy(segmentor)
    with torch.no_grad():
        for parameter in segmentor.parameters():
            parameter.zero_()
    logits, features = twin(image)
    assert_close(logits, before.logits)
    assert_close(features[0], before.features[0])


def test_gradients_reach_the_image_through_features():
    image = torch.randn(1, 3, 64, 64, requires_grad=True)
    wrap(Mine(), features={4: "stem"})(image).features[3].sum().backward()
    assert image.grad is not None and image.grad.any()


# Refused


def test_a_layer_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(ValueError, match=r"Mine has no layer 'steam'.*stem, norm, deep, head"):
        wrap(Mine(), features={4: "steam"})


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ({8: "stem"}, r"'stem' at 8: \(1, 4, 16, 16\)"),
        ({4: "stem", 16: "deep"}, r"'deep' at 16: \(1, 6, 8, 8\)"),
        ({4: "stem", 8: "spare"}, "'spare' at 8: never called"),
    ],
)
def test_a_layer_at_another_stride_is_refused_with_what_came(features, words):
    with pytest.raises(ValueError, match=rf"image of 64x64 came {words}"):
        wrap(Mine(), features=features)


def test_no_layers_are_refused():
    with pytest.raises(ValueError, match="name one layer at least"):
        wrap(Mine(), features={})


class Pair(nn.Module):
    """A layer with two outputs."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 4, stride=4)

    def forward(self, image):
        return self.conv(image), 1


class TwoOutputs(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, image):
        return nn.functional.interpolate(self.inner(image)[0], scale_factor=4.0)


def test_a_layer_that_gives_no_single_map_is_refused():
    with pytest.raises(ValueError, match=r"'inner' at 4: \('tuple'"):
        wrap(TwoOutputs(Pair()), features={4: "inner"})


@pytest.mark.parametrize(
    ("network", "came"),
    [
        (nn.Sequential(nn.Conv2d(3, 2, 4, stride=4)), r"\(1, 2, 16, 16\)"),
        (Pair(), "tuple"),
    ],
)
def test_logits_of_another_size_are_refused(network, came):
    name = "0" if isinstance(network, nn.Sequential) else "conv"
    with pytest.raises(ValueError, match=rf"gave {came} for an image.*of the image's size"):
        wrap(network, features={4: name})


def test_a_wrong_number_of_channels_is_seen_at_once():
    with pytest.raises(RuntimeError, match="3 channels, but got 1"):
        wrap(Mine(), features={4: "stem"}, image_channels=1)
