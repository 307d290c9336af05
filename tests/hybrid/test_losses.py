"""The segmentor's loss: against its formula, plane by plane, inside the field of view."""

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from hidiff.datasets import SYNTHETIC_LABELS
from hidiff.hybrid import segmentor_loss

KINDS = {"one_class": 1, "exclusive": 3, "regions": 2}


def masks(kind, batch=2, size=8):
    planes = KINDS[kind]
    if kind == "exclusive":
        index = torch.randint(0, planes, (batch, size, size))
        return functional.one_hot(index, planes).permute(0, 3, 1, 2).float()
    return torch.randint(0, 2, (batch, planes, size, size)).float()


def loss_of(kind, logits, y0, seen=None):
    seen = torch.ones_like(y0[:, :1]) if seen is None else seen
    return segmentor_loss(logits, y0, SYNTHETIC_LABELS[kind], seen)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_soft_dice_plus_cross_entropy(kind):
    y0 = masks(kind)
    logits = torch.randn_like(y0)
    if kind == "exclusive":
        p = logits.softmax(dim=1)
        cross_entropy = -(y0 * p.log()).sum(dim=1).mean()
    else:
        p = logits.sigmoid()
        cross_entropy = -(y0 * p.log() + (1 - y0) * (1 - p).log()).mean()
    both, either = (p * y0).sum(dim=(2, 3)), (p + y0).sum(dim=(2, 3))
    dice = (2 * both + 1) / (either + 1)
    classes = SYNTHETIC_LABELS[kind].class_planes
    assert_close(loss_of(kind, logits, y0), 1 - dice[:, classes].mean() + cross_entropy)


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_costs_nothing_and_its_opposite_much(kind):
    y0 = masks(kind)
    sure = 20 * (2 * y0 - 1)
    assert loss_of(kind, sure, y0) < 1e-4
    assert loss_of(kind, -sure, y0) > 10


def test_regions_do_not_know_of_one_another():
    y0, logits = masks("regions"), torch.randn(2, 2, 8, 8, requires_grad=True)
    other = y0.clone()
    other[:, 1] = 1 - other[:, 1]
    gradients = [
        torch.autograd.grad(loss_of("regions", logits, truth), logits)[0][:, 0]
        for truth in (y0, other)
    ]
    assert_close(*gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_outside_the_field_of_view_nothing_counts_or_is_learned(kind):
    y0 = masks(kind)
    seen = torch.ones(2, 1, 8, 8)
    seen[:, :, :, 5:] = 0
    logits = torch.randn_like(y0).requires_grad_()
    loss = loss_of(kind, logits, y0, seen)
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[..., 5:].any()
    assert (logits.grad[..., :5] != 0).all()
    elsewhere = logits.detach().clone()
    elsewhere[..., 5:] = 1e4 * torch.randn_like(elsewhere[..., 5:])
    assert_close(loss_of(kind, elsewhere, y0, seen), loss.detach())


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_mask_has_a_finite_loss(kind):
    y0 = torch.zeros(2, KINDS[kind], 8, 8)
    if kind == "exclusive":
        y0[:, 0] = 1
    logits = torch.randn_like(y0).requires_grad_()
    loss = loss_of(kind, logits, y0)
    loss.backward()
    assert loss.isfinite() and logits.grad is not None and logits.grad.isfinite().all()
