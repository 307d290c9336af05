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
    logits, features, _ = segmentor(image)
    stem = mine.stem(image)
    assert_close(logits, mine(image))
    assert_close(features[0], stem)
    assert_close(features[1], mine.deep[0](mine.norm(stem)))
    assert [tuple(f.shape[2:]) for f in features] == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_the_trial_is_one_image_and_leaves_no_trace():
    mine = Mine().train()
    mine.norm.eval()
    before = copy.deepcopy(mine.state_dict())
    wrap(mine, features={4: "stem"})
    assert mine.seen == [((1, 3, 128, 192), False)]
    assert mine.training and not mine.norm.training
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
    logits, features, _ = twin(image)
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
        ({8: "stem"}, r"'stem' at 8: \(1, 4, 32, 48\)"),
        ({4: "stem", 16: "deep"}, r"'deep' at 16: \(1, 6, 16, 24\)"),
        ({4: "stem", 8: "spare"}, "'spare' at 8: never called"),
    ],
)
def test_a_layer_at_another_stride_is_refused_with_what_came_and_what_there_is(features, words):
    there = r"stride 4: stem \(4 channels\), norm \(4 channels\); stride 8: deep\.0 \(6 channels\)"
    with pytest.raises(ValueError, match=rf"image of 128x192 came {words}.*{there}"):
        wrap(Mine(), features=features)


def test_logits_that_are_no_map_of_the_image_are_refused_with_what_came():
    valid = nn.Sequential(nn.Conv2d(3, 2, 5))  # each side loses 4 pixels: where would they lie?
    with pytest.raises(ValueError, match=r"one tensor \(1, 2, 124, 188\) came, but logits"):
        wrap(valid, features={})


def test_a_wrong_number_of_channels_is_seen_at_once():
    with pytest.raises(ValueError, match=r"3 channels, but got 1.*image_channels=1"):
        wrap(Mine(), features={4: "stem"}, image_channels=1)


# One size only


class Fixed(Mine):
    """A network of one size alone, like a vision transformer with learned positions."""

    def forward(self, image):
        if image.shape[2:] != (96, 64):
            raise AssertionError(f"size {tuple(image.shape[2:])} is not 96x64")
        return super().forward(image)


def test_a_module_of_one_size_declares_it():
    segmentor = wrap(Fixed(), size=(96, 64))
    assert segmentor.input_size == (96, 64)
    assert segmentor(torch.randn(1, 3, 96, 64)).logits.shape == (1, 2, 96, 64)
    with pytest.raises(ValueError, match=r"image is 64x96, but Fixed takes 96x64 only"):
        segmentor(torch.randn(1, 3, 64, 96))


def test_a_module_of_one_size_that_does_not_is_asked_for_it():
    with pytest.raises(ValueError, match=r"size \(128, 192\) is not 96x64\. If it takes .*size="):
        wrap(Fixed())


def test_without_features_only_logits_come():
    segmentor = wrap(Mine(), features={})
    assert segmentor.feature_channels == ()
    assert segmentor(torch.randn(1, 3, 64, 64)).features == ()


class SeveralHeads(Mine):
    """It trains with more logits than its answer."""

    def forward(self, image):
        logits = super().forward(image)
        return {"logits": logits, "auxiliary": [2 * logits] if self.training else []}


def test_a_network_may_train_with_more_logits_than_its_answer():
    segmentor = wrap(SeveralHeads(), features={4: "stem"})
    image = torch.randn(2, 3, 64, 64)
    assert segmentor.eval()(image).auxiliary == ()
    logits, _, auxiliary = segmentor.train()(image)
    assert len(auxiliary) == 1
    assert_close(auxiliary[0], 2 * logits)
