"""Bits of channels that stand side by side."""

import pytest
import torch

from hidiff.packed.layout import join, pack_bits


@pytest.mark.parametrize("left", [1, 8, 31, 32, 40, 64, 72])
@pytest.mark.parametrize("right", [1, 24, 32, 33, 64, 88])
def test_joined_bits_are_those_of_both_at_once(left, right):
    bits = torch.rand(3, 5, left + right) < 0.5
    joined = join(pack_bits(bits[..., :left]), pack_bits(bits[..., left:]), left, right)
    assert torch.equal(joined, pack_bits(bits))
