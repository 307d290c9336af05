"""Group norm: exact on large maps in any layout, torch's own where something is trained."""

import pytest
import torch
from torch import nn

from hidiff.refiner.group_norm import GroupNorm


@pytest.fixture
def norm():
    draws = torch.Generator().manual_seed(0)
    norm = GroupNorm(8, 16)
    for number in norm.parameters():
        nn.init.normal_(number, generator=draws)
    return norm


@pytest.fixture
def x():
    """A map like a photograph's: a constant border, and means far from 0."""
    draws = torch.Generator().manual_seed(1)
    x = torch.randn(2, 16, 384, 352, generator=draws) + 10 * torch.randn(
        1, 16, 1, 1, generator=draws
    )
    x[..., :60] = x[..., :1, :1]
    return x


def exact(norm, x):
    doubled = nn.GroupNorm(norm.num_groups, norm.num_channels, eps=norm.eps).double()
    doubled.load_state_dict(norm.state_dict())
    return doubled(x.double())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_large_map_is_normed_exactly_in_any_layout(norm, x, layout):
    with torch.no_grad():
        found = norm(x.contiguous(memory_format=layout))
    assert (found - exact(norm, x)).abs().max() < 3e-5
    assert found.is_contiguous(memory_format=layout)


def test_training_has_the_norm_of_torch_and_its_gradient(norm, x):
    patch = x[:, :, :32, :32].contiguous(memory_format=torch.channels_last).requires_grad_()
    found = norm(patch)
    found.square().sum().backward()
    truth = nn.functional.group_norm(patch, norm.num_groups, norm.weight, norm.bias, norm.eps)
    assert torch.equal(found, truth) and patch.grad is not None and patch.grad.abs().sum() > 0
