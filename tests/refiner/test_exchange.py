"""Concatenation in place of the cross transformer: the same neighbours, and no dearer."""

import pytest
import torch
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from hidiff.refiner import RefinerSettings
from hidiff.refiner.blocks import Fusion
from hidiff.refiner.cross_transformer import CrossTransformer
from tests.refiner.test_unet import inputs, make

CHANGES = {"exchange": "concatenation"}


@pytest.mark.parametrize("precision", ["binary", "real"])
@pytest.mark.parametrize("condition", ["each_step", "once"])
def test_it_starts_at_zero_and_every_parameter_learns(precision, condition):
    refiner = make(precision=precision, condition=condition, **CHANGES)
    given, features = inputs()
    assert not refiner(**given, features=features).any()
    torch.nn.init.normal_(refiner.output.weight)
    target = torch.randn_like(given["yt"])
    for _ in range(2):  # the biases of time start at zero, so the embedding moves second
        loss = ((refiner(**given, features=features) - target) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            for parameter in refiner.parameters():
                parameter -= 0.1 * parameter.grad
    assert not [name for name, p in refiner.named_parameters() if not p.grad.any()]


def test_nothing_but_the_exchange_differs():
    ours, papers = (make(**changes).state_dict() for changes in (CHANGES, {}))
    for name in ours.keys() ^ papers.keys():
        assert name.startswith("cross.")
    assert all(ours[name].shape == papers[name].shape for name in ours.keys() & papers.keys())
    # the image's features come in by one condition block, as ever
    assert {name for name in ours if name.startswith("cross.condition.")} == {
        name for name in papers if name.startswith("cross.condition.")
    }
    assert isinstance(make(**CHANGES).cross, Fusion) and isinstance(make().cross, CrossTransformer)


@pytest.mark.parametrize("width", [8, 128])
def test_it_costs_no_more_than_the_cross_transformer(width):
    """The paper's on 8x8 tokens, that of 256x256 images."""
    spent = []
    for exchange in (CHANGES, {}):
        with torch.device("meta"):
            cross = make(width=width, **exchange).cross
            x, time = torch.empty(1, 4 * width, 8, 8), torch.empty(1, 4 * width)
            with FlopCounterMode(display=False) as count:
                cross(x, x, time)
        spent.append(count.get_total_flops())
    ours, papers = spent
    assert 0.4 * papers < ours < papers


def test_the_features_at_stride_32_reach_the_mask():
    refiner = make(precision="real", **CHANGES).eval()
    torch.nn.init.normal_(refiner.output.weight)
    given, features = inputs()
    before = refiner(**given, features=features)
    features[3] = features[3] + 1
    assert not torch.allclose(refiner(**given, features=features), before)


def test_what_is_prepared_once_gives_what_forward_does():
    refiner = make(**CHANGES).eval()
    torch.nn.init.normal_(refiner.output.weight)
    given, features = inputs()
    conditions = refiner.condition(refiner.prepare(features), given["t"])
    again = refiner.denoise(**given, conditions=conditions)
    assert torch.equal(again, refiner(**given, features=features))


def test_a_layout_of_tokens_without_tokens_is_refused():
    with pytest.raises(ValidationError, match="lays out the cross transformer's tokens"):
        RefinerSettings(published_layout=True, exchange="concatenation")
