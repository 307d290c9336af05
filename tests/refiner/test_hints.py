"""Hint planes: nothing changes without hints, and everything learns from them."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from hidiff.refiner import Refiner, RefinerSettings
from tests.refiner.test_unet import inputs

SHAPES = [
    {},
    {"condition": "each_step"},
    {"fine": True},
    {"precision": "real"},
    {"exchange": "concatenation"},
]


def make(hints, **changes):
    torch.manual_seed(0)
    settings = RefinerSettings(width=8, hints=hints, **changes)
    refiner = Refiner(3, 2, (8, 12, 16, 20), settings)
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        refiner.output.weight.normal_(std=0.1, generator=draws)
    return refiner


def some_hints(like):
    hints = torch.zeros_like(like)
    hints[:, 0, 3:9, 60:], hints[:, 1, :4, :5] = 1, -1
    return hints


@pytest.mark.parametrize("changes", SHAPES)
@pytest.mark.parametrize("training", [False, True])
def test_the_same_seed_with_hint_planes_gives_the_same_bits(changes, training):
    plain, hinted = (make(hints, **changes).train(training) for hints in (False, True))
    given, features = inputs()
    expected = plain(**given, features=features)
    assert expected.any()
    # before training hints change nothing, and no hints never do
    for hints in (None, torch.zeros_like(given["yt"]), some_hints(given["yt"])):
        twin = copy.deepcopy(hinted)
        assert torch.equal(twin(**given, features=features, hints=hints), expected)
    nn.init.normal_(hinted.hint_input.weight)
    for hints in (None, torch.zeros_like(given["yt"])):
        twin = copy.deepcopy(hinted)
        assert torch.equal(twin(**given, features=features, hints=hints), expected)
    assert not torch.equal(
        hinted(**given, features=features, hints=some_hints(given["yt"])), expected
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_no_hints_change_no_bit_in_half_precision_either(dtype):
    plain, hinted = (make(hints).eval() for hints in (False, True))
    nn.init.normal_(hinted.hint_input.weight)
    given, features = inputs()
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype):
        expected = plain(**given, features=features)
        assert torch.equal(hinted(**given, features=features), expected)


@pytest.mark.parametrize("changes", SHAPES)
def test_denoising_from_prepared_parts_reads_the_same_hints(changes):
    refiner = make(True, **changes).eval()
    nn.init.normal_(refiner.hint_input.weight)
    given, features = inputs()
    given["t"] = torch.full((2,), 3)
    hints = some_hints(given["yt"])
    with torch.no_grad():
        conditions = refiner.condition(
            refiner.prepare(refiner.see(given["image"], features)), given["t"]
        )
        parts = refiner.denoise(**given, conditions=conditions, hints=hints)
        assert_close(parts, refiner(**given, features=features, hints=hints))
        without = refiner.denoise(**given, conditions=conditions)
        assert_close(without, refiner(**given, features=features))


def test_hint_weights_learn_from_hints_and_rest_without():
    refiner = make(True)
    given, features = inputs()
    for hints in (None, some_hints(given["yt"])):
        refiner.zero_grad()
        refiner(**given, features=features, hints=hints).square().mean().backward()
        gradient = refiner.hint_input.weight.grad
        # a gradient in either case: several processes wait for one of every weight
        assert gradient is not None and bool(gradient.any()) == (hints is not None)
    gradient = refiner.hint_input.weight.grad
    assert gradient[:, 0].any() and gradient[:, 1].any()


def test_hints_are_an_added_convolution():
    refiner = make(True).eval()
    nn.init.normal_(refiner.hint_input.weight)
    given, features = inputs()
    hints = some_hints(given["yt"])
    stacked = torch.cat([given["image"], given["yt"], given["prior"], hints], dim=1)
    weight = torch.cat([refiner.input.weight, refiner.hint_input.weight], dim=1)
    joined = nn.functional.conv2d(stacked, weight, refiner.input.bias, padding=1)
    seen = []
    refiner.encoder[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        refiner(**given, features=features, hints=hints)
    assert_close(seen[0], joined)


def test_hints_for_a_refiner_without_planes_are_refused():
    given, features = inputs()
    with pytest.raises(ValueError, match=r"no planes for them.*refiner\.hints=true"):
        make(False)(**given, features=features, hints=some_hints(given["yt"]))
