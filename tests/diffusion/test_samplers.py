from itertools import count

import pytest
import torch
from hypothesis import given
from hypothesis.strategies import floats, sampled_from
from torch.testing import assert_close

from hidiff.diffusion import (
    REVERSE,
    SAMPLERS,
    SCHEDULES,
    TARGETS,
    at_temperature,
    ddim_mean,
    draws_from,
    make_schedule,
    marginal,
    q_mean,
    sample_ancestral,
    subset,
)

SHAPE = (2, 3, 4, 5)


def bayes(prior, schedule):
    """The refiner `residual` is before training: its network says 0."""

    def predict_y0(yt, t):
        zeros = torch.zeros_like(yt)
        return torch.sigmoid(TARGETS["residual"](zeros, yt, prior, schedule.at(t)))

    return predict_y0


def seeded(seed, shape=SHAPE):
    return draws_from(torch.Generator().manual_seed(seed), shape)


def random_prior(shape=SHAPE):
    return torch.rand(shape, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [[10], [10, 9], [10, 7, 1], list(range(10, 0, -1))])
def test_a_sampler_visits_its_steps_and_draws_once_for_each(name, steps):
    schedule, prior = make_schedule("cosine", 10), random_prior()
    asked, told = [], []

    def uniform(t):
        asked.append(t)
        return torch.full(SHAPE, 0.5)

    def predict_y0(yt, t):
        told.append(t.tolist())
        assert ((yt == 0) | (yt == 1)).all()
        return torch.full_like(yt, 0.25)

    walked = list(SAMPLERS[name](predict_y0, prior, schedule, steps, uniform))
    assert [step.t for step in walked] == asked == steps
    assert told == [[t, t] for t in steps]
    assert torch.equal(walked[0].yt, (prior > 0.5).float())
    assert all(step.y0_hat.shape == SHAPE for step in walked)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_waits_to_be_asked(name):
    calls = count()

    def predict_y0(yt, t):
        next(calls)
        return yt

    schedule, prior = make_schedule("cosine", 10), random_prior()
    next(iter(SAMPLERS[name](predict_y0, prior, schedule, [10, 5], seeded(0))))
    assert next(calls) == 1


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("kind", SCHEDULES)
def test_the_same_generator_gives_the_same_sample(name, kind):
    schedule, prior = make_schedule(kind, 20), random_prior()

    def sample(seed):
        predict_y0 = bayes(prior, schedule)
        return list(SAMPLERS[name](predict_y0, prior, schedule, subset(20, 5), seeded(seed)))

    first, again, other = sample(0), sample(0), sample(1)
    assert all(torch.equal(a.yt, b.yt) for a, b in zip(first, again, strict=True))
    assert all(torch.equal(a.y0_hat, b.y0_hat) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[-1].yt, other[-1].yt)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_refiner_that_knows_the_mask_ends_in_it(name):
    schedule, prior = make_schedule("cosine", 10), random_prior()
    y0 = (random_prior() < 0.3).float()
    steps = list(SAMPLERS[name](lambda yt, t: y0, prior, schedule, subset(10, 5), seeded(0)))
    assert torch.equal(steps[-1].y0_hat, y0)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("kind", ["uniform", "linear"])  # whose alpha_bar ends at exactly 0
def test_one_step_without_training_returns_the_prior(name, kind):
    schedule, prior = make_schedule(kind, 20), random_prior()
    (step,) = SAMPLERS[name](bayes(prior, schedule), prior, schedule, [20], seeded(0))
    assert_close(step.y0_hat, prior, rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_many_samples_without_training_tend_to_the_prior(kind):
    # 8 priors of 10,000 pixels: 4 standard errors of a mean of bits are at most 0.02.
    prior = torch.linspace(0, 1, 8).repeat_interleave(10_000).reshape(1, 8, 100, 100)
    schedule = make_schedule(kind, 20)
    draws = seeded(3, prior.shape)
    predict_y0 = bayes(prior, schedule)
    steps = list(sample_ancestral(predict_y0, prior, schedule, subset(20, 5), draws, marginal))
    assert len(steps) == 5
    mean = steps[-1].y0_hat.mean(dim=(0, 2, 3))
    assert_close(mean, prior[0, :, 0, 0], rtol=0, atol=0.02)


@given(bit=sampled_from([0.0, 1.0]), p=floats(0, 1), a_s=floats(0, 1), ratio=floats(0, 0.99))
def test_ddim_keeps_the_chances_of_the_forward_process(bit, p, a_s, ratio):
    y0, prior, a_t, a_s = (
        torch.full((1, 1, 1, 1), v, dtype=torch.float64) for v in (bit, p, a_s * ratio, a_s)
    )
    # ddim_mean is a straight line in yt, so that the mean over yt may be put in for yt.
    over_yt = ddim_mean(q_mean(y0, prior, a_t), y0, prior, a_t, a_s)
    assert_close(over_yt, q_mean(y0, prior, a_s))


@pytest.mark.parametrize("name", SAMPLERS)
def test_steps_without_the_last_are_refused(name):
    schedule, prior = make_schedule("cosine", 10), random_prior()
    with pytest.raises(ValueError, match="hold 10"):
        list(SAMPLERS[name](bayes(prior, schedule), prior, schedule, [9, 1], seeded(0)))


@pytest.mark.parametrize("reverse", REVERSE)
def test_certain_pixels_of_the_prior_stay_without_training(reverse):
    prior = (random_prior() < 0.5).float()
    schedule = make_schedule("uniform", 10)
    steps = sample_ancestral(
        bayes(prior, schedule), prior, schedule, subset(10, 10), seeded(0), REVERSE[reverse]
    )
    assert_close(list(steps)[-1].y0_hat, prior, rtol=0, atol=2e-6)


@given(p=floats(0.01, 0.99), temperature=floats(0.05, 2))
def test_temperature_sharpens_the_chance_of_a_bit(p, temperature):
    uniform = (torch.arange(100_000) + 0.5) / 100_000
    share = (at_temperature(uniform, temperature) < p).double().mean()
    power = 1 / temperature
    assert_close(share.item(), p**power / (p**power + (1 - p) ** power), rtol=0, atol=2e-5)


def test_at_temperature_0_the_likelier_bit_comes():
    bits = at_temperature(torch.tensor([0.0, 0.3, 1 - 1e-7]), 0.0)
    assert_close(bits, torch.full((3,), 0.5))
