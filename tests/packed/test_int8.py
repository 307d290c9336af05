"""Convolutions in int8 against exact sums, and what they may be off by."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis.strategies import floats, integers
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from hidiff.packed import int8
from hidiff.packed.int8 import Int8Conv2d, int8_problem, to_int8, to_uint8

needs_int8 = pytest.mark.skipif(bool(int8_problem()), reason=int8_problem())


def make(in_channels=24, out_channels=40) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def features(*shape: int) -> torch.Tensor:
    """Return features as a condition block's convolutions read them."""
    return functional.silu(torch.randn(shape, generator=torch.Generator().manual_seed(1)))


@needs_int8
@pytest.mark.parametrize("lowest", [0, -100, -254])
@torch.no_grad()
def test_whole_numbers_are_multiplied_exactly_at_the_border_too(lowest):
    conv, draws = make(), torch.Generator().manual_seed(2)
    conv.weight.copy_(torch.randint(-127, 128, conv.weight.shape, generator=draws))
    conv.weight[:, 0, 0, 0] = 127
    assert conv.bias is not None
    conv.bias.copy_(torch.arange(40.0))
    x = torch.randint(lowest, lowest + 255, (1, 24, 9, 11), generator=draws).float()
    x[0, 0, 0, :2] = torch.tensor([lowest, lowest + 254])
    truth = functional.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=1)
    assert_close(Int8Conv2d(conv)(x).double(), truth, rtol=1e-6, atol=0.01)


@needs_int8
@torch.no_grad()
def test_the_error_is_that_of_rounding_and_no_more():
    conv, x = make(), features(1, 24, 16, 16)
    error = (Int8Conv2d(conv)(x) - conv(x)).abs()
    _, weight_step = to_int8(conv.weight)
    _, step, _ = to_uint8(x)
    rounded = functional.conv2d(x.abs(), torch.ones_like(conv.weight), padding=1)
    bound = rounded * weight_step[:, None, None] / 2
    inside = torch.ones_like(x)
    most = conv.weight.abs() + weight_step[:, None, None, None] / 2
    bound += functional.conv2d(inside, most, padding=1) * step / 2
    assert (error <= bound + 1e-4).all()
    assert error.square().mean().sqrt() < 0.015 * conv(x).std()


@needs_int8
@torch.no_grad()
def test_an_images_answer_does_not_depend_on_the_rest_of_the_batch():
    layer, x = Int8Conv2d(make()), features(3, 24, 8, 8)
    x *= torch.tensor([1.0, 1000.0, 1e-3])[:, None, None, None]
    together = layer(x)
    for number in range(3):
        assert torch.equal(together[number], layer(x[number : number + 1])[0])


@needs_int8
@torch.no_grad()
def test_layout_in_memory_changes_nothing():
    conv, x = make(), features(2, 24, 8, 8)
    truth = Int8Conv2d(conv)(x)
    moved = Int8Conv2d(conv.to(memory_format=torch.channels_last))
    assert torch.equal(moved(x.contiguous(memory_format=torch.channels_last)), truth)


@needs_int8
@torch.no_grad()
def test_an_image_of_zeros_gives_the_bias():
    conv = make()
    out = Int8Conv2d(conv)(torch.zeros(1, 24, 4, 4))
    assert conv.bias is not None
    assert torch.equal(out, conv.bias[None, :, None, None].expand_as(out))


@given(least=floats(-1e4, 1e4), width=floats(0, 1e4), seed=integers(0, 9))
def test_every_number_is_within_half_a_step_and_zero_is_exact(least, width, seed):
    draws = torch.Generator().manual_seed(seed)
    x = least + width * torch.rand(1, 3, 5, 4, generator=draws)
    x[0, 0, 0, 0] = 0
    numbers, scale, zero = to_uint8(x)
    again = (numbers.double() - zero) * scale
    assert again[0, 0, 0, 0] == 0
    assert (again - x).abs().max() <= 0.501 * scale
    assert scale <= max(x.amax().item() - x.amin().item(), 1e-12) / 253


def test_a_processor_whose_sums_overflow_is_found_out():
    program = "from hidiff.packed.int8 import int8_problem; print(int8_problem())"
    words = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=words, capture_output=True, text=True, check=True
    )
    assert "this processor has no instructions for it (VNNI)" in done.stdout


def test_where_it_cannot_run_it_is_refused(monkeypatch):
    monkeypatch.setattr(int8, "int8_problem", lambda: "this processor has none")
    told = "int8 is asked for, but this processor has none. Pack .*--condition-compute float32"
    with pytest.raises(ValueError, match=told):
        Int8Conv2d(make())


def test_a_torch_without_the_operators_is_told(monkeypatch):
    def lacking(*_):
        raise RuntimeError("no such operator\nmore")

    monkeypatch.setattr(int8, "_prepack", lacking)
    problem = int8_problem.__wrapped__()
    assert problem.endswith("has no such convolution here (no such operator)")
