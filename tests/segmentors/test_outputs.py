"""Logits and features are found in whatever form a network gives them."""

from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.testing import assert_close

from hidiff.segmentors import wrap

IMAGE = torch.randn(2, 3, 64, 96)


@dataclass
class Answer:
    loss: None
    logits: Tensor
    hidden: tuple[Tensor, ...]


Named = namedtuple("Named", "hidden out")


class Network(nn.Module):
    """Logits at stride 4, a feature at 8, put together by `form`."""

    def __init__(self, form):
        super().__init__()
        self.form = form
        self.down = nn.Conv2d(3, 2, 4, stride=4)
        self.deep = nn.Conv2d(2, 5, 2, stride=2)

    def forward(self, image):
        logits = self.down(image)
        return self.form(logits, self.deep(logits))


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (lambda logits, deep: logits, None),
        (lambda logits, deep: (logits, deep), None),
        (lambda logits, deep: [deep, logits], None),
        (lambda logits, deep: [deep, [logits, deep]], None),
        (lambda logits, deep: (logits, logits + 1), None),
        (lambda logits, deep: {"aux": logits + 1, "out": logits}, None),
        (lambda logits, deep: {"mask": logits, "other": logits + 1}, "mask"),
        (lambda logits, deep: (logits + 1, logits), 1),
        (lambda logits, deep: Answer(None, logits, (logits + 1, deep)), None),
        (lambda logits, deep: Named(logits + 1, logits), None),
        (lambda logits, deep: logits.movedim(1, 3), None),
        (lambda logits, deep: logits.flatten(2).transpose(1, 2), None),
    ],
    ids=[
        *("tensor", "tuple", "list", "nested", "first", "dict"),
        *("key", "number", "dataclass", "named", "last", "tokens"),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_logits_are_found_in_any_form_and_brought_to_the_images_size(form, name, training):
    network = Network(form)
    found = wrap(network, features={}, logits=name).train(training)(IMAGE).logits
    truth = interpolate(network.down(IMAGE), (64, 96), mode="bilinear")
    assert_close(found, truth)


def test_logits_of_a_name_that_is_not_there_are_answered_with_those_that_are():
    network = Network(lambda logits, deep: {"a": logits, "b": deep})
    words = r"no map called 'out'.*a \(1, 2, 32, 48\), b \(1, 5, 16, 24\) came"
    with pytest.raises(ValueError, match=words):
        wrap(network, features={}, logits="out")


def test_a_network_may_give_more_in_training_than_in_prediction():
    """Deep supervision: a list of several in training, one tensor else."""
    network = Network(lambda logits, deep: [logits, deep] if network.training else logits)
    segmentor = wrap(network, features={8: "deep"})
    assert_close(segmentor.train()(IMAGE).logits, segmentor.eval()(IMAGE).logits)


class Layer(nn.Module):
    """Several maps in one output, as an encoder gives them, in a layout of its own."""

    def __init__(self, layout):
        super().__init__()
        self.layout = layout
        self.fine = nn.Conv2d(3, 4, 4, stride=4)
        self.coarse = nn.Conv2d(4, 6, 4, stride=4)

    def forward(self, image):
        fine = self.fine(image)
        return [image, self.layout(fine), self.layout(self.coarse(fine))]


def class_token(maps):
    tokens = maps.flatten(2).transpose(1, 2)
    return torch.cat([torch.full_like(tokens[:, :1], 9.0), tokens], dim=1)


LAYOUTS = {
    "channels_first": lambda maps: maps,
    "channels_last": lambda maps: maps.movedim(1, 3),
    "tokens": lambda maps: maps.flatten(2).transpose(1, 2),
    "class_token": class_token,
}


class Encoded(nn.Module):
    def __init__(self, layout):
        super().__init__()
        self.encoder = Layer(layout)

    def forward(self, image):
        return self.encoder(image)[0][:, :1]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(64, 96), (96, 32)])
def test_a_layer_may_give_several_maps_of_any_layout(layout, size):
    image = torch.randn(2, 3, *size)
    network = Encoded(LAYOUTS[layout])
    features = wrap(network, features={4: "encoder", 16: "encoder"})(image).features
    fine = network.encoder.fine(image)
    assert_close(features[0], fine)
    assert_close(features[2], network.encoder.coarse(fine))


def test_the_networks_own_output_may_hold_the_features():
    network = Network(lambda logits, deep: Answer(None, logits, (logits, deep)))
    segmentor = wrap(network, features={8: ""})
    assert_close(segmentor(IMAGE).features[1], network.deep(network.down(IMAGE)))


def test_a_layer_whose_output_changes_its_form_is_refused():
    network = Encoded(LAYOUTS["tokens"])
    segmentor = wrap(network, features={4: "encoder"})
    network.encoder.forward = lambda image: (image,)
    with pytest.raises(ValueError, match=r"gave '1' for the trial image, and now gives 0"):
        segmentor(IMAGE)
