"""Compare two networks, ours and the library's that it was written after, bit by bit."""

from collections.abc import Callable, Sequence

import torch
from torch import nn


def same_bits_when_trained(
    make_ours: Callable[[], nn.Module],
    make_theirs: Callable[[], nn.Module],
    inputs: Sequence[torch.Tensor | list[torch.Tensor]],
) -> None:
    """Assert that two networks agree in every bit, from their first random weight on.

    Weights, their names and order, what is left of the random numbers, outputs and gradients in
    training, running statistics, and outputs in prediction, in both memory layouts.
    """
    torch.manual_seed(5)
    ours, ours_next = make_ours(), torch.rand(1)
    torch.manual_seed(5)
    theirs, theirs_next = make_theirs(), torch.rand(1)
    assert torch.equal(ours_next, theirs_next)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for layout in (torch.contiguous_format, torch.channels_last):
        for network in (ours, theirs):
            network.to(memory_format=layout).train()
        for given in inputs:
            given = _in_layout(given, layout)
            torch.manual_seed(6)  # of dropout
            output = ours(given)
            torch.manual_seed(6)
            assert torch.equal(output, theirs(given))
            weight = torch.randn_like(output)
            for network in (ours, theirs):
                network.zero_grad()
                torch.manual_seed(6)
                (network(given) * weight).sum().backward()
            gradients = [[each.grad for each in net.parameters()] for net in (ours, theirs)]
            assert all(map(torch.equal, *gradients))
            assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))
            with torch.no_grad():
                assert torch.equal(ours.eval()(given), theirs.eval()(given))
            for network in (ours, theirs):
                network.train()


def _in_layout(given: torch.Tensor | list[torch.Tensor], layout: torch.memory_format):
    if isinstance(given, list):
        return [each.contiguous(memory_format=layout) for each in given]
    return given.contiguous(memory_format=layout)
