"""The diffusion under normal noise: against closed forms, and what a chain of it ends in."""

from statistics import NormalDist

import pytest
import torch
from hypothesis import given
from hypothesis.strategies import floats, sampled_from
from torch.distributions import Normal
from torch.testing import assert_close

from hidiff.diffusion import (
    LossWeights,
    cross_entropy,
    draws_from,
    gaussian_loss,
    gaussian_y0_logits,
    make_schedule,
    normal,
    q_sample,
    sample_gaussian,
    soft_dice,
    step_back,
    subset,
)

SHAPE = (2, 3, 4, 5)
bits, values = sampled_from([0.0, 1.0]), floats(-4, 4)
shares, ratios = floats(0.01, 0.99), floats(0.01, 0.99)


def one(value):
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


def seeded(seed, shape=SHAPE):
    return draws_from(torch.Generator().manual_seed(seed), shape)


# Noise


def test_noise_is_the_inverse_of_the_normal_distribution_function():
    uniform = torch.tensor([1e-6, 0.01, 0.3, 0.5, 0.9, 1 - 1e-6], dtype=torch.float64)
    expected = [NormalDist().inv_cdf(u) for u in uniform.tolist()]
    assert_close(normal(uniform), torch.tensor(expected, dtype=torch.float64))


def test_every_number_that_can_be_drawn_gives_finite_noise():
    ends = normal(torch.tensor([0.0, 2**-24, 1 - 2**-24]))  # float32 draws have 24 bits
    assert ends.isfinite().all() and ends[0] < ends[1] < 0 < ends[2]
    assert ends.abs().max() < 6


# Forward and back


@given(bit=bits, noise=values)
def test_forward_is_every_small_step_of_ddpm_multiplied_out(bit, noise):
    schedule = make_schedule("cosine", 10)
    mean, variance = 2 * bit - 1, 0.0
    for t, beta in enumerate(schedule.betas.tolist(), start=1):
        # x_t = sqrt(1 - beta) x_(t-1) + sqrt(beta) noise (Ho et al., equation 2)
        mean, variance = (1 - beta) ** 0.5 * mean, (1 - beta) * variance + beta
        ours = q_sample(one(bit), one(noise), one(schedule.alpha_bar[t].item()))
        assert_close(ours.item(), mean + variance**0.5 * noise, rtol=0, atol=1e-12)


@given(bit=bits, yt=values, a_s=shares, ratio=ratios)
def test_at_temperature_1_a_step_is_the_posterior_of_two_normal_variables(bit, yt, a_s, ratio):
    # xs ~ N(sqrt(a_s) x0, 1 - a_s) and xt = sqrt(ratio) xs + sqrt(1 - ratio) noise are normal
    # together; xs given xt by their means and covariance.
    x0 = 2 * bit - 1
    covariance, variance = ratio**0.5 * (1 - a_s), ratio * (1 - a_s) + 1 - ratio
    surprise = yt - ratio**0.5 * a_s**0.5 * x0
    mean = a_s**0.5 * x0 + covariance / variance * surprise
    deviation = (1 - a_s - covariance**2 / variance) ** 0.5
    given_ = one(yt), one(bit), one(a_s * ratio), one(a_s)
    assert_close(step_back(*given_, one(0.0)).item(), mean, rtol=0, atol=1e-9)
    assert_close(step_back(*given_, one(1.0)).item(), mean + deviation, rtol=0, atol=1e-6)


@given(bit=bits, noise=values, a_s=shares, ratio=ratios, new=values)
def test_at_temperature_0_the_noise_stays_what_it_was(bit, noise, a_s, ratio, new):
    yt = q_sample(one(bit), one(noise), one(a_s * ratio))
    ys = step_back(yt, one(bit), one(a_s * ratio), one(a_s), one(new), temperature=0.0)
    assert_close(ys, q_sample(one(bit), one(noise), one(a_s)))


@given(bit=bits, a_s=shares, ratio=ratios, temperature=floats(0, 3))
def test_at_any_temperature_ys_is_spread_as_in_the_forward_process(bit, a_s, ratio, temperature):
    def back(noise_in_yt, new):
        yt = q_sample(one(bit), one(noise_in_yt), one(a_s * ratio))
        return step_back(yt, one(bit), one(a_s * ratio), one(a_s), one(new), temperature).item()

    # a straight line in both noises, which are independent and of variance 1
    centre = back(0.0, 0.0)
    variance = (back(1.0, 0.0) - centre) ** 2 + (back(0.0, 1.0) - centre) ** 2
    assert_close(centre, a_s**0.5 * (2 * bit - 1), rtol=0, atol=1e-9)
    assert_close(variance, 1 - a_s, rtol=0, atol=1e-9)


@given(bit=bits, yt=values, a_s=shares, noise=values)
def test_a_step_that_forgets_all_leaves_the_forward_draw(bit, yt, a_s, noise):
    ys = step_back(one(yt), one(bit), one(0.0), one(a_s), one(noise))
    assert_close(ys, q_sample(one(bit), one(noise), one(a_s)))


@given(yt=values, p=floats(1e-5, 1 - 1e-5), a_t=shares)
def test_a_silent_network_says_the_bayes_answer(yt, p, a_t):
    spread = (1 - a_t) ** 0.5
    for_one, for_zero = (
        Normal(one(centre * a_t**0.5), spread).log_prob(one(yt)) for centre in (1, -1)
    )
    expected = for_one - for_zero + torch.logit(one(p))
    ours = gaussian_y0_logits(one(0.0), one(yt), one(p), one(a_t))
    assert_close(ours, expected, rtol=1e-9, atol=1e-9)


# Sampling


def bayes(prior, schedule):
    def predict_y0(yt, t):
        silent = torch.zeros_like(yt)
        return torch.sigmoid(gaussian_y0_logits(silent, yt, prior, schedule.at(t)))

    return predict_y0


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0])
def test_many_samples_without_training_are_masks_that_tend_to_the_prior(temperature):
    # Exact as the steps grow many, whatever the temperature (Song et al., arXiv 2011.13456).
    prior = torch.tensor([0.1, 0.3, 0.5, 0.8]).repeat_interleave(4096).reshape(1, 4, 64, 64)
    schedule, draws = make_schedule("cosine", 200), seeded(3, prior.shape)
    steps = sample_gaussian(
        bayes(prior, schedule), prior, schedule, subset(200, 200), draws, temperature
    )
    *_, last = steps
    assert_close(last.y0_hat.mean(dim=(0, 2, 3)), prior[0, :, 0, 0], rtol=0, atol=0.03)
    assert ((last.y0_hat < 0.01) | (last.y0_hat > 0.99)).float().mean() > 0.99


@pytest.mark.parametrize("steps", [[10], [10, 7, 1], list(range(10, 0, -1))])
def test_it_visits_its_steps_and_draws_once_for_each(steps):
    asked, told = [], []

    def uniform(t):
        asked.append(t)
        return seeded(t)(t)

    def predict_y0(yt, t):
        told.append((yt, t.tolist()))
        return torch.full_like(yt, 0.25)

    prior, schedule = torch.full(SHAPE, 0.3), make_schedule("cosine", 10)
    walked = list(sample_gaussian(predict_y0, prior, schedule, steps, uniform))
    assert [step.t for step in walked] == asked == steps
    assert [t for _, t in told] == [[t, t] for t in steps]
    assert_close(told[0][0], normal(seeded(10)(10)))  # pure noise
    # shown on the mask's own scale
    assert_close(walked[-1].yt, (told[-1][0] + 1) / 2)


def test_at_temperature_0_the_first_draw_alone_decides():
    prior, schedule = torch.full(SHAPE, 0.4), make_schedule("cosine", 10)

    def sample(temperature, later):
        def uniform(t):
            return seeded(1 if t == 10 else later)(t)

        predict_y0 = bayes(prior, schedule)
        walked = sample_gaussian(predict_y0, prior, schedule, subset(10, 4), uniform, temperature)
        return list(walked)[-1].y0_hat

    assert torch.equal(sample(0.0, later=2), sample(0.0, later=3))
    assert not torch.equal(sample(1.0, later=2), sample(1.0, later=3))


@pytest.mark.parametrize("kind", ["cosine", "uniform", "linear"])  # two end at exactly 0
@pytest.mark.parametrize("temperature", [0.0, 1.0, 2.0])
def test_a_refiner_that_knows_the_mask_ends_in_it(kind, temperature):
    schedule, y0 = make_schedule(kind, 20), torch.randint(0, 2, SHAPE).float()
    *_, last = sample_gaussian(
        lambda yt, t: y0, y0, schedule, subset(20, 20), seeded(0), temperature
    )
    assert torch.equal(last.y0_hat, y0)
    # what went into the last step is near the mask already
    assert torch.equal((last.yt > 0.5).float(), y0)


# The loss


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(7)
    shape = (4, 2, 5, 7)
    return {
        "y0": torch.randint(0, 2, shape, generator=generator).double(),
        "prior": 0.1 + 0.8 * torch.rand(shape, generator=generator, dtype=torch.float64),
        "t": torch.tensor([1, 2, 6, 10]),
        "schedule": make_schedule("cosine", 10),
        "uniform": torch.rand(shape, generator=generator, dtype=torch.float64),
    }


def test_the_loss_is_that_of_y0_hat_with_one_call_on_a_forward_draw(batch):
    calls = []

    def network(yt, t):
        calls.append((yt, t))
        return torch.ones_like(yt)

    weights = LossWeights(cross_entropy=2, soft_dice=3)
    losses = gaussian_loss(network, **batch, weights=weights)
    ((yt, t),) = calls
    alpha_bar = batch["schedule"].at(t)
    assert_close(yt, q_sample(batch["y0"], normal(batch["uniform"]), alpha_bar))
    logits = gaussian_y0_logits(torch.ones_like(yt), yt, batch["prior"], alpha_bar)
    assert_close(losses["cross_entropy"], cross_entropy(logits, batch["y0"]).mean())
    assert_close(losses["soft_dice"], soft_dice(torch.sigmoid(logits), batch["y0"]))
    assert list(losses) == ["loss", "cross_entropy", "soft_dice"]
    assert_close(losses["loss"], 2 * losses["cross_entropy"] + 3 * losses["soft_dice"])


def test_gradients_to_prior_and_network_are_those_of_finite_differences(batch):
    output = torch.randn(batch["y0"].shape, dtype=torch.float64).requires_grad_()
    prior = batch.pop("prior").requires_grad_()

    def loss_of(prior, output):
        return gaussian_loss(lambda *_: output, prior=prior, **batch, weights=LossWeights())["loss"]

    assert torch.autograd.gradcheck(loss_of, (prior, output), fast_mode=True)


@pytest.mark.parametrize("size", [0.0, 100.0])
def test_certain_priors_and_networks_leave_loss_and_gradients_finite(size):
    shape = (20, 1, 8, 8)
    y0, prior = (torch.randint(0, 2, shape).float() for _ in range(2))
    prior.requires_grad_()
    output = (size * torch.randn(shape)).requires_grad_()
    losses = gaussian_loss(
        lambda *_: output, y0, prior, torch.arange(1, 21), make_schedule("uniform", 20),
        weights=LossWeights(), uniform=torch.zeros(shape),
    )  # fmt: skip
    assert all(term.isfinite() for term in losses.values())
    for gradient in torch.autograd.grad(losses["loss"], (prior, output)):
        assert gradient.isfinite().all()


def test_pixels_outside_the_field_of_view_do_not_count(batch):
    inside = torch.zeros(4, 1, 5, 7, dtype=torch.float64)
    inside[..., :3] = 1

    def loss_of(given_, **weight):
        return gaussian_loss(
            lambda yt, t: torch.zeros_like(yt), **given_, weights=LossWeights(), **weight
        )

    cut = {name: batch[name][..., :3] for name in ("y0", "prior", "uniform")}
    assert_close(loss_of(batch, pixel_weight=inside), loss_of(batch | cut))


def test_terms_of_bits_alone_are_refused(batch):
    weights = LossWeights(kl=1, focal=1, cross_entropy=0, soft_dice=0)
    with pytest.raises(ValueError, match="gaussian, which has no kl and no focal"):
        gaussian_loss(lambda yt, t: yt, **batch, weights=weights)
