"""The two halves of an iteration: who learns from what, and what must not move."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from hidiff.diffusion import LossWeights
from hidiff.experiment import make_hybrid
from hidiff.training.steps import (
    Batch,
    Frozen,
    draw_noise,
    refiner_step,
    segmentor_only_step,
    segmentor_step,
)
from tests.tiny import make_tiny, same_tensors, shake

WEIGHTS = LossWeights()


@pytest.fixture(params=["binary", "real"])
def hybrid(tmp_path, request):
    recipe = make_tiny(tmp_path, refiner={"precision": request.param})
    return shake(make_hybrid(recipe)).train()


@pytest.fixture
def batch():
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    y0 = (torch.rand(2, 1, 64, 64) < 0.3).float()
    return Batch(["a", "b"], image, y0, torch.ones_like(y0))


@pytest.fixture
def draws(batch):
    return draw_noise(batch, 4, 0, "test")


def gradients(network):
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def biases_before_norms(network):
    """Biases that a batch norm takes out again: their gradient is rounding, or exactly 0."""
    return {name for name, _ in network.named_parameters() if name.endswith("conv.bias")}


# The segmentor's own loss


def test_logits_beside_the_answer_have_the_same_loss_and_it_is_summed(hybrid, batch):
    look = hybrid.look(batch.image)
    assert look.auxiliary == ()
    alone = segmentor_only_step(hybrid, look, batch)["loss"]
    heads = (look.logits + 1, look.logits - 2)
    apart = [segmentor_only_step(hybrid, look._replace(logits=each), batch) for each in heads]
    together = segmentor_only_step(hybrid, look._replace(auxiliary=heads), batch)["loss"]
    assert_close(together, alone + sum(losses["loss"] for losses in apart))


# Half 1


def test_the_refiners_half_leaves_no_gradient_in_the_segmentor(hybrid, batch, draws):
    look = hybrid.look(batch.image)
    losses = refiner_step(hybrid, hybrid.refiner, look, batch, draws, WEIGHTS)
    losses["loss"].backward()
    assert gradients(hybrid.segmentor) == {}
    assert set(gradients(hybrid.refiner)) == {n for n, _ in hybrid.refiner.named_parameters()}
    assert hybrid.refiner.input.weight.grad.any()


def test_the_segmentors_graph_outlives_the_refiners_half(hybrid, batch, draws):
    look = hybrid.look(batch.image)
    refiner_step(hybrid, hybrid.refiner, look, batch, draws, WEIGHTS)["loss"].backward()
    with torch.no_grad():  # the refiner's optimizer moves in between
        for parameter in hybrid.refiner.parameters():
            parameter += 0.01
    segmentor_step(hybrid, look, batch, draws, WEIGHTS, 1.0)["loss"].backward()
    assert gradients(hybrid.segmentor)


# Half 2


def test_the_segmentors_half_changes_nothing_in_the_refiner(hybrid, batch, draws):
    # gradients that lie there from before must stay as they are, too
    for parameter in hybrid.refiner.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = copy.deepcopy(hybrid.refiner.state_dict())
    assert any(name.endswith("num_batches_tracked") for name in before)
    look = hybrid.look(batch.image)
    segmentor_step(hybrid, look, batch, draws, WEIGHTS, 1.0)["loss"].backward()
    assert same_tensors(hybrid.refiner.state_dict(), before)
    assert all((grad == 1).all() for grad in gradients(hybrid.refiner).values())
    assert all(parameter.requires_grad for parameter in hybrid.refiner.parameters())


def test_the_refiners_half_does_move_its_statistics(hybrid, batch, draws):
    before = copy.deepcopy(dict(hybrid.refiner.named_buffers()))
    look = hybrid.look(batch.image)
    refiner_step(hybrid, hybrid.refiner, look, batch, draws, WEIGHTS)
    moved = [n for n, b in hybrid.refiner.named_buffers() if not torch.equal(b, before[n])]
    assert set(moved) == set(before)
    counts = [b for n, b in hybrid.refiner.named_buffers() if n.endswith("num_batches_tracked")]
    assert {int(count) for count in counts} == {1}  # one call for one loss


def segmentor_gradients(hybrid, batch, draws, diffusion_weight, change=lambda look: look):
    hybrid.zero_grad()
    look = change(hybrid.look(batch.image))
    losses = segmentor_step(hybrid, look, batch, draws, WEIGHTS, diffusion_weight)
    losses["loss"].backward()
    return gradients(hybrid.segmentor), losses


def test_every_parameter_of_the_segmentor_learns_from_the_refiner(hybrid, batch, draws):
    alone, _ = segmentor_gradients(hybrid, batch, draws, 0.0)
    both, _ = segmentor_gradients(hybrid, batch, draws, 1.0)
    assert set(alone) == set(both) == {n for n, _ in hybrid.segmentor.named_parameters()}
    exempt = biases_before_norms(hybrid.segmentor)
    for name in alone.keys() - exempt:
        assert both[name].any()
        assert not torch.allclose(alone[name], both[name], rtol=1e-3), name


def test_the_collaboration_counts_by_its_weight(hybrid, batch, draws):
    alone, _ = segmentor_gradients(hybrid, batch, draws, 0.0)
    both, _ = segmentor_gradients(hybrid, batch, draws, 1.0)
    half, losses = segmentor_gradients(hybrid, batch, draws, 0.5)
    assert_close(losses["loss"], losses["segmentor"] + 0.5 * losses["diffusion"])
    for name in alone:
        assert_close(half[name], (alone[name] + both[name]) / 2, rtol=1e-3, atol=1e-5)


def test_without_collaboration_the_refiner_is_not_even_called(hybrid, batch, draws):
    hybrid.refiner.forward = None
    _, losses = segmentor_gradients(hybrid, batch, draws, 0.0)
    own = segmentor_only_step(hybrid, hybrid.look(batch.image), batch)
    assert set(losses) == set(own) == {"loss", "segmentor"}


@pytest.mark.parametrize("way", ["prior", "features"])
def test_the_refiners_gradient_comes_through_prior_and_through_features(hybrid, batch, draws, way):
    def only(look):
        kept = {way: getattr(look, way)}
        return look.detach()._replace(**kept)

    through, _ = segmentor_gradients(hybrid, batch, draws, 1.0, only)
    assert through
    assert any(gradient.any() for gradient in through.values())


# Frozen


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.conv(x))


def test_a_frozen_network_answers_as_in_training_and_stays_as_it_is():
    net = Net().train()
    before = copy.deepcopy(net.state_dict())
    x = (3 + torch.randn(4, 2, 5, 5)).requires_grad_()
    frozen = Frozen(net)(x)
    frozen.square().sum().backward()
    assert x.grad is not None and x.grad.any()
    assert gradients(net) == {}
    assert same_tensors(net.state_dict(), before)
    assert_close(frozen, net(x))  # batch statistics, not running ones
    assert not same_tensors(net.state_dict(), before)


# The noise


def test_noise_is_a_function_of_its_words(batch):
    t, uniform = draw_noise(batch, 10, 0, "refiner", 3, 0)
    again = draw_noise(batch, 10, 0, "refiner", 3, 0)
    assert torch.equal(t, again[0]) and torch.equal(uniform, again[1])
    for words in (("segmentor", 3, 0), ("refiner", 4, 0), ("refiner", 3, 1)):
        assert not torch.equal(uniform, draw_noise(batch, 10, 0, *words)[1])
    assert not torch.equal(uniform, draw_noise(batch, 10, 1, "refiner", 3, 0)[1])


def test_ranks_draw_what_one_process_with_the_whole_batch_would(batch):
    whole = Batch([*"abcd"], *(torch.cat([x, x]) for x in (batch.image, batch.y0, batch.y0)))
    t, uniform = draw_noise(whole, 10, 0, "refiner", 3)
    parts = [draw_noise(batch, 10, 0, "refiner", 3, rank=rank, world=2) for rank in range(2)]
    assert torch.equal(torch.cat([part[0] for part in parts]), t)
    assert torch.equal(torch.cat([part[1] for part in parts]), uniform)


def test_every_step_from_1_to_t_comes_equally_often():
    y0 = torch.zeros(2000, 1, 1, 1)
    batch = Batch([""] * 2000, y0, y0, y0)
    t, uniform = draw_noise(batch, 5, 0, "t")
    counts = torch.bincount(t, minlength=6)
    assert counts[0] == 0 and len(counts) == 6
    assert (counts[1:] - 400).abs().max() < 5 * (2000 * 0.2 * 0.8) ** 0.5
    assert uniform.min() >= 0 and uniform.max() < 1


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_share_of_the_draws_is_the_last_step_and_the_rest_as_before(share):
    y0 = torch.zeros(2000, 1, 1, 1)
    batch = Batch([""] * 2000, y0, y0, y0)
    before, _ = draw_noise(batch, 5, 0, "t")
    t, _ = draw_noise(batch, 5, 0, "t", last_step_share=share)
    expected = share + (1 - share) / 5
    last = (t == 5).float().mean()
    assert abs(last - expected) <= 5 * (expected * (1 - expected) / 2000) ** 0.5
    assert torch.equal(t[t != 5], before[t != 5])
