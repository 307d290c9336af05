"""The suite that every segmentor of the registry passes; a new one joins by its name."""

import copy
import inspect

import pytest
import torch

from hidiff.segmentors import SEGMENTORS, STRIDES, Segmentor, SegmentorSettings, make_segmentor

# As small as each can be made.
OPTIONS = {"unet": {"width": 8}}


def make(name, channels=3, planes=2):
    torch.manual_seed(0)
    options = OPTIONS.get(name, {})
    return make_segmentor(SegmentorSettings(name=name, options=options), channels, planes)


@pytest.mark.parametrize("name", SEGMENTORS)
@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_logits_and_features_are_of_the_promised_shape(name, planes, size):
    segmentor = make(name, planes=planes)
    assert isinstance(segmentor, Segmentor)
    assert (segmentor.image_channels, segmentor.num_planes) == (3, planes)
    logits, features = segmentor(torch.randn(2, 3, *size))
    assert logits.shape == (2, planes, *size)
    assert [tuple(feature.shape) for feature in features] == [
        (2, channels, size[0] // stride, size[1] // stride)
        for channels, stride in zip(segmentor.feature_channels, STRIDES, strict=True)
    ]


@pytest.mark.parametrize("name", SEGMENTORS)
def test_one_channel_is_enough(name):
    assert make(name, channels=1)(torch.randn(2, 1, 64, 64)).logits.shape == (2, 2, 64, 64)


@pytest.mark.parametrize("name", SEGMENTORS)
def test_its_own_loss_reaches_every_parameter(name):
    segmentor = make(name).train()
    segmentor(torch.randn(2, 3, 64, 64)).logits.square().mean().backward()
    silent = [n for n, p in segmentor.named_parameters() if p.grad is None or not p.grad.any()]
    # a bias before a batch norm changes nothing: its gradient is rounding, or exactly 0
    assert all(n.endswith("bias") for n in silent)
    assert all(p.grad is not None for p in segmentor.parameters())


@pytest.mark.parametrize("name", SEGMENTORS)
@pytest.mark.parametrize("level", range(4))
def test_every_feature_teaches_the_segmentor(name, level):
    segmentor = make(name).train()
    segmentor(torch.randn(2, 3, 64, 64)).features[level].square().mean().backward()
    assert any(p.grad is not None and p.grad.any() for p in segmentor.parameters())


@pytest.mark.parametrize("name", SEGMENTORS)
def test_in_eval_batch_mates_do_not_matter_and_nothing_moves(name):
    segmentor = make(name).eval()
    before = copy.deepcopy(segmentor.state_dict())
    image = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        together, alone = segmentor(image).logits[:1], segmentor(image[:1]).logits
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(before[k], v) for k, v in segmentor.state_dict().items())


@pytest.mark.parametrize("name", SEGMENTORS)
def test_a_copy_is_a_network_of_its_own(name):
    segmentor = make(name).eval()
    twin = copy.deepcopy(segmentor)
    image = torch.randn(1, 3, 64, 64)
    before = twin(image).logits
    with torch.no_grad():
        for parameter in segmentor.parameters():
            parameter.zero_()
    assert torch.equal(twin(image).logits, before)


@pytest.mark.parametrize("name", SEGMENTORS)
def test_an_option_that_it_does_not_have_is_refused(name):
    assert inspect.getdoc(SEGMENTORS[name])
    with pytest.raises(ValueError, match=rf"segmentor\.options do not fit {name}.*wdth"):
        make_segmentor(SegmentorSettings(name=name, options={"wdth": 8}), 3, 1)


def test_an_unknown_name_is_answered_with_those_that_exist():
    with pytest.raises(ValueError, match=r"segmentor\.name is 'unnet'.*one of unet"):
        make_segmentor(SegmentorSettings(name="unnet"), 3, 1)
