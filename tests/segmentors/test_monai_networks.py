"""Tests of MONAI's networks alone; those that all segmentors share: test_every_segmentor.py."""

import torch

from tests.segmentors.small import make_small


def test_an_optimizer_moves_once_what_dynunet_lists_twice():
    segmentor = make_small("monai.DynUNet")
    every_name = dict(segmentor.named_parameters(remove_duplicate=False))
    parameters = list(segmentor.parameters())
    assert len(every_name) > len(parameters) == len({p.data_ptr() for p in every_name.values()})
    before = {name: p.detach().clone() for name, p in every_name.items()}
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD(parameters, lr=1.0).step()
    after = segmentor.state_dict()
    assert all(torch.equal(after[name], before[name] - 1) for name in before)
