import math

import pytest
import torch
from hypothesis import given
from hypothesis.strategies import floats
from pydantic import ValidationError
from torch.distributions import Bernoulli, kl_divergence
from torch.nn.functional import cross_entropy as torch_cross_entropy
from torch.testing import assert_close

from hidiff.diffusion import (
    REVERSE,
    SCHEDULES,
    TARGETS,
    LossWeights,
    cross_entropy,
    focal,
    kl_bernoulli,
    make_schedule,
    marginal,
    posterior,
    q_mean,
    refiner_loss,
    soft_dice,
)

ALL_TERMS = LossWeights(kl=1, focal=2, cross_entropy=3, soft_dice=4)


def planes(values, dtype=torch.float64):
    return torch.as_tensor(values, dtype=dtype).reshape(-1, 1, 1, 1)


@pytest.fixture
def batch():
    """Two planes of 5x7 pixels; t = 1 and others; chances away from 0 and 1."""
    generator = torch.Generator().manual_seed(7)
    shape = (4, 2, 5, 7)
    return {
        "y0": torch.randint(0, 2, shape, generator=generator).double(),
        "prior": 0.1 + 0.8 * torch.rand(shape, generator=generator, dtype=torch.float64),
        "t": torch.tensor([1, 2, 6, 10]),
        "schedule": make_schedule("cosine", 10),
        "uniform": torch.rand(shape, generator=generator, dtype=torch.float64),
    }


def silent(yt, t):
    return torch.zeros_like(yt)


@given(p=floats(0.001, 0.999), q=floats(0.001, 0.999))
def test_kl_is_that_of_torch_distributions(p, q):
    p, q = planes(p), planes(q)
    assert_close(kl_bernoulli(p, q), kl_divergence(Bernoulli(p), Bernoulli(q)))


def test_kl_is_nothing_for_equals_and_finite_for_opposites():
    p = planes([0.0, 1e-9, 0.3, 1.0], torch.float32)
    assert (kl_bernoulli(p, p) == 0).all()
    q = planes([1.0, 1.0, 1.0, 0.0], torch.float32).requires_grad_()
    kl = kl_bernoulli(p, q)
    assert kl.isfinite().all() and (kl > 10).all()
    assert torch.autograd.grad(kl.sum(), q)[0].isfinite().all()


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("p", [0.02, 0.5, 0.9])
def test_the_bound_of_a_perfect_refiner_is_the_entropy_of_the_mask(name, p):
    # If y0 ~ prior and y0_hat is the Bayes answer, `marginal` is the true reverse process, and
    # all terms of the bound, over every yt and y0, add up to the entropy of y0, in nats.
    alpha_bar = make_schedule(name, 20).alpha_bar
    y0, yt = planes([0, 0, 1, 1]), planes([0, 1, 0, 1])
    prior = torch.full_like(y0, p)
    bound = torch.tensor(0.0, dtype=torch.float64)
    for t in range(1, 21):
        a_t, a_s = (alpha_bar[step].expand(4).reshape(4, 1, 1, 1) for step in (t, t - 1))
        y0_chance = (1 - y0 - prior).abs()
        yt_chance = (1 - yt - q_mean(y0, prior, a_t)).abs()
        y0_hat = q_mean(yt, prior, a_t)
        if t == 1:
            term = cross_entropy(torch.logit(y0_hat), y0)
        else:
            truth = posterior(yt, y0, prior, a_t, a_s)
            term = kl_bernoulli(truth, marginal(yt, y0_hat, prior, a_t, a_s))
        bound += (y0_chance * yt_chance * term).sum()
    both = planes([0, 1])
    at_the_end = kl_bernoulli(q_mean(both, prior[:2], a_t[:2]), prior[:2]).flatten()
    bound += (1 - p) * at_the_end[0] + p * at_the_end[1]
    assert_close(bound.item(), -p * math.log(p) - (1 - p) * math.log(1 - p), rtol=1e-9, atol=0)


@given(logit=floats(-20, 20))
def test_focal_without_gamma_is_cross_entropy_and_gamma_scales_by_the_error(logit):
    logits, target = planes([logit, logit]), planes([0, 1])
    plain = cross_entropy(logits, target)
    wrong = (target - torch.sigmoid(logits)).abs()
    assert_close(focal(logits, target, gamma=0.0), plain)
    assert_close(focal(logits, target), wrong**2 * plain)


def test_cross_entropy_is_that_of_two_classes():
    logits, y0 = planes([-3.0, 0.5, 40.0]), planes([1, 0, 0])
    two = torch.stack([torch.zeros(3, dtype=torch.float64), logits.flatten()], dim=1)
    expected = torch_cross_entropy(two, y0.flatten().long(), reduction="none")
    assert_close(cross_entropy(logits, y0).flatten(), expected)


def test_soft_dice_by_hand():
    y0_hat = torch.tensor([[1.0, 0.5], [0.0, 0.0]]).reshape(1, 1, 2, 2)
    y0 = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).reshape(1, 1, 2, 2)
    assert_close(soft_dice(y0_hat, y0).item(), 1 - (2 * 1 + 1) / (1.5 + 2 + 1))
    top_row = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).reshape(1, 1, 2, 2)
    assert_close(soft_dice(y0_hat, y0, top_row).item(), 1 - (2 * 1 + 1) / (1.5 + 1 + 1))


def test_soft_dice_asks_nothing_of_a_right_mask_even_an_empty_one():
    y0 = torch.zeros(1, 2, 4, 4)
    y0[0, 0, :2] = 1
    assert soft_dice(y0, y0).item() == 0


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("reverse", REVERSE)
def test_the_network_is_called_once_with_bits_and_steps(batch, target, reverse):
    calls = []

    def network(yt, t):
        calls.append((yt, t))
        return torch.zeros_like(yt)

    losses = refiner_loss(
        network, **batch, target=TARGETS[target], reverse=REVERSE[reverse], weights=ALL_TERMS
    )
    assert len(calls) == 1
    (yt, t) = calls[0]
    assert ((yt == 0) | (yt == 1)).all() and torch.equal(t, batch["t"])
    assert list(losses) == ["loss", "kl", "focal", "cross_entropy", "soft_dice"]
    weights = ALL_TERMS.model_dump()
    assert_close(losses["loss"], sum(weights[name] * losses[name] for name in weights))


def test_yt_follows_the_forward_process():
    seen = []
    shape = (1, 1, 200, 200)
    y0, prior = torch.ones(shape), torch.full(shape, 0.25)
    refiner_loss(
        lambda yt, t: seen.append(yt) or torch.zeros_like(yt),
        y0,
        prior,
        torch.tensor([4]),
        make_schedule("uniform", 10),
        target=TARGETS["residual"],
        reverse=REVERSE["plug_in"],
        weights=LossWeights(),
        uniform=torch.rand(shape, generator=torch.Generator().manual_seed(2)),
    )
    assert abs(seen[0].mean().item() - (0.6 + 0.4 * 0.25)) < 4 * 0.5 / 200


@pytest.mark.parametrize("reverse", REVERSE)
def test_at_the_first_step_kl_is_the_likelihood_and_later_it_is_not(batch, reverse):
    chosen = {"target": TARGETS["residual"], "reverse": REVERSE[reverse], "weights": ALL_TERMS}
    at_first = refiner_loss(silent, **(batch | {"t": torch.ones(4, dtype=torch.long)}), **chosen)
    assert_close(at_first["kl"], at_first["cross_entropy"])
    later = refiner_loss(silent, **(batch | {"t": torch.full((4,), 2)}), **chosen)
    assert abs(later["kl"] - later["cross_entropy"]) > 0.005


def test_at_the_first_step_the_likelihood_has_no_floor(batch):
    def sure(yt, t):
        return torch.full_like(yt, 60.0)

    first = batch | {"t": torch.ones(4, dtype=torch.long), "y0": torch.zeros_like(batch["y0"])}
    chosen = {"target": TARGETS["residual"], "reverse": REVERSE["plug_in"], "weights": ALL_TERMS}
    assert refiner_loss(sure, **first, **chosen)["kl"] > 50


def test_terms_of_no_weight_are_left_out(batch):
    chosen = {"target": TARGETS["flip"], "reverse": REVERSE["plug_in"]}
    weights = LossWeights(kl=1, focal=1, cross_entropy=0, soft_dice=0)
    losses = refiner_loss(silent, **batch, **chosen, weights=weights)
    assert list(losses) == ["loss", "kl", "focal"]


def test_weights_of_nothing_and_below_nothing_are_refused():
    with pytest.raises(ValidationError, match="nothing would be learned"):
        LossWeights(kl=0, focal=0, cross_entropy=0, soft_dice=0)
    with pytest.raises(ValidationError):
        LossWeights(kl=-1)
    with pytest.raises(ValidationError):
        LossWeights.model_validate({"dice": 1})


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("reverse", REVERSE)
def test_gradients_to_prior_and_network_are_those_of_finite_differences(batch, target, reverse):
    output = torch.randn(
        batch["y0"].shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64
    )
    small = {name: value[..., :2, :2] for name, value in batch.items() if name in ("y0", "uniform")}
    prior = batch["prior"][..., :2, :2].clone().requires_grad_()
    output = output[..., :2, :2].clone().requires_grad_()

    def loss_of(prior, output):
        return refiner_loss(
            lambda yt, t: output,
            small["y0"],
            prior,
            batch["t"],
            batch["schedule"],
            target=TARGETS[target],
            reverse=REVERSE[reverse],
            weights=ALL_TERMS,
            uniform=small["uniform"],
        )["loss"]

    assert torch.autograd.gradcheck(loss_of, (prior, output))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("reverse", REVERSE)
@pytest.mark.parametrize("size", [0.0, 100.0])
def test_certain_priors_and_networks_leave_loss_and_gradients_finite(target, reverse, size):
    generator = torch.Generator().manual_seed(5)
    shape = (20, 1, 8, 8)
    y0 = torch.randint(0, 2, shape, generator=generator).float()
    prior = torch.randint(0, 2, shape, generator=generator).float().requires_grad_()
    output = (size * torch.randn(shape, generator=generator)).requires_grad_()
    losses = refiner_loss(
        lambda yt, t: output,
        y0,
        prior,
        torch.arange(1, 21),
        make_schedule("uniform", 20),
        target=TARGETS[target],
        reverse=REVERSE[reverse],
        weights=ALL_TERMS,
        uniform=torch.rand(shape, generator=generator),
    )
    assert all(term.isfinite() for term in losses.values())
    for gradient in torch.autograd.grad(losses["loss"], (prior, output)):
        assert gradient.isfinite().all()


def test_pixels_outside_the_field_of_view_do_not_count(batch):
    chosen = {"target": TARGETS["residual"], "reverse": REVERSE["plug_in"], "weights": ALL_TERMS}
    inside = torch.zeros(4, 1, 5, 7, dtype=torch.float64)
    inside[..., :3] = 1
    weighted = refiner_loss(silent, **batch, **chosen, pixel_weight=inside)
    cut = {name: batch[name][..., :3] for name in ("y0", "prior", "uniform")}
    cropped = refiner_loss(silent, **(batch | cut), **chosen)
    assert_close(weighted, cropped)
    nothing = refiner_loss(silent, **batch, **chosen, pixel_weight=torch.zeros_like(inside))
    assert nothing["kl"] == 0 and nothing["loss"].isfinite()


def test_the_clean_mask_is_no_step_to_train(batch):
    with pytest.raises(ValueError, match="Steps count from 1"):
        refiner_loss(
            silent,
            **(batch | {"t": torch.tensor([0, 1, 2, 3])}),
            target=TARGETS["flip"],
            reverse=REVERSE["plug_in"],
            weights=LossWeights(),
        )
