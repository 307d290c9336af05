"""The float ends in strips against torch's own layers."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from hidiff import group_norm
from hidiff.packed import ends


@pytest.fixture(params=[1, 2**19], ids=["row by row", "large strips"], autouse=True)
def strip(request, monkeypatch):
    monkeypatch.setattr(group_norm, "STRIP", request.param)


@pytest.mark.parametrize("batch", [1, 3])
@torch.no_grad()
def test_strips_are_the_whole_convolution(batch):
    layer, x = nn.Conv2d(5, 8, 3, padding=1), torch.randn(batch, 5, 11, 7)
    out = torch.empty(batch, 8, 11, 7, memory_format=torch.channels_last)
    assert ends.convolve(layer, x, out) is out
    assert_close(out, layer(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("planes", [1, 3])
@torch.no_grad()
def test_the_output_is_that_of_norm_silu_and_convolution(planes):
    norm, layer = nn.GroupNorm(4, 24), nn.Conv2d(24, planes, 3, padding=1)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = 5 + torch.randn(2, 24, 9, 13).contiguous(memory_format=torch.channels_last)
    truth = layer(functional.silu(norm(x)))
    assert_close(ends.read_out(norm, layer, x), truth, rtol=0, atol=1e-5)
