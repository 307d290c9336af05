"""The moving average: its formula, and what it leaves alone."""

import torch
from torch import nn
from torch.testing import assert_close

from hidiff.training import EMA


def make():
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).train()


def test_it_follows_its_formula_buffers_included():
    module = make()
    ema = EMA(module)
    expected = {name: value.clone() for name, value in module.state_dict().items()}
    for n in range(1, 6):
        module(torch.randn(4, 1, 3, 3) + n)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter += torch.randn_like(parameter)
        ema.update(module)
        decay = (1 + n) / (10 + n)
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * value
            else:
                expected[name] = value.clone()
        for name, value in ema.module.state_dict().items():
            assert_close(value, expected[name])
    assert ema.num_updates == 5
    assert ema.module.state_dict()["1.num_batches_tracked"] == 5
    assert not torch.equal(ema.module[1].running_mean, module[1].running_mean)


def test_the_decay_ends_at_its_largest():
    module = make()
    ema = EMA(module)
    ema.num_updates = 10**9
    before = ema.module[0].weight.clone()
    with torch.no_grad():
        module[0].weight += 1
    ema.update(module)
    assert_close(ema.module[0].weight - before, torch.full_like(before, 1e-4), rtol=0, atol=1e-6)


def test_it_is_a_copy_that_only_predicts():
    module = make()
    ema = EMA(module)
    assert not ema.module.training and module.training
    assert not any(parameter.requires_grad for parameter in ema.module.parameters())
    assert all(parameter.requires_grad for parameter in module.parameters())
    before = module.state_dict()["0.weight"].clone()
    ema.update(module)
    assert torch.equal(module.state_dict()["0.weight"], before)
    pointers = {value.data_ptr() for value in module.state_dict().values()}
    assert not pointers & {value.data_ptr() for value in ema.module.state_dict().values()}
