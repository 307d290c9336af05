"""The diffusion that the settings choose: the paper's, and uniform noise beside it."""

import pytest
import torch
from hypothesis import given
from hypothesis.strategies import floats, sampled_from
from torch.testing import assert_close

from hidiff.diffusion import (
    GAUSSIAN,
    NOISES,
    RESIDUALS,
    REVERSE,
    SAMPLERS,
    TARGETS,
    LossWeights,
    at_temperature,
    bernoulli_process,
    draws_from,
    make_schedule,
    q_mean,
    refiner_loss,
    sample_ancestral,
    subset,
)

SHAPE = (4, 2, 5, 7)
ALL_TERMS = LossWeights(kl=1, focal=2, cross_entropy=3, soft_dice=4)


def seeded(seed, shape=SHAPE):
    return draws_from(torch.Generator().manual_seed(seed), shape)


@pytest.fixture
def batch():
    return {
        "y0": torch.randint(0, 2, SHAPE).float(),
        "prior": 0.1 + 0.8 * torch.rand(SHAPE),
        "t": torch.tensor([1, 2, 6, 10]),
        "schedule": make_schedule("cosine", 10),
        "uniform": torch.rand(SHAPE),
        "weights": ALL_TERMS,
    }


def walk(process, predict_y0, prior, sampler="ancestral", temperature=1.0):
    schedule, steps = make_schedule("cosine", 10), subset(10, 5)
    walked = process.sample(predict_y0, prior, schedule, steps, seeded(2), sampler, temperature)
    return torch.stack([torch.stack([step.yt, step.y0_hat]) for step in walked])


def half(yt, t):
    return 0.2 + 0.6 * yt


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("reverse", REVERSE)
def test_noise_of_the_prior_is_the_papers_loss_and_sampler_bit_for_bit(batch, target, reverse):
    process = bernoulli_process("prior", target, reverse)
    output = torch.randn(SHAPE)
    theirs = refiner_loss(
        lambda *_: output, **batch, target=TARGETS[target], reverse=REVERSE[reverse]
    )
    ours = process.loss(lambda *_: output, **batch)
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

    schedule, steps = make_schedule("cosine", 10), subset(10, 5)
    for sampler, keywords in (
        (sample_ancestral, {"reverse": REVERSE[reverse]}),
        (SAMPLERS["ddim"], {}),
    ):
        draws = seeded(2)
        walked = sampler(
            half, batch["prior"], schedule, steps, lambda t, d=draws: at_temperature(d(t), 0.5),
            **keywords,
        )  # fmt: skip
        expected = torch.stack([torch.stack([step.yt, step.y0_hat]) for step in walked])
        name = "ddim" if sampler is SAMPLERS["ddim"] else "ancestral"
        assert torch.equal(walk(process, half, batch["prior"], name, 0.5), expected)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("reverse", REVERSE)
def test_uniform_noise_is_a_prior_of_one_half(batch, target, reverse):
    output = torch.randn(SHAPE)
    ours = bernoulli_process("uniform", target, reverse)
    theirs = bernoulli_process("prior", target, reverse)
    even = batch | {"prior": torch.full(SHAPE, 0.5)}
    assert_close(ours.loss(lambda *_: output, **even), theirs.loss(lambda *_: output, **even))
    # whatever the prior is: it is not in the noise
    assert torch.equal(walk(ours, half, batch["prior"]), walk(theirs, half, even["prior"]))
    if target == "flip":
        assert_close(ours.loss(lambda *_: output, **batch), theirs.loss(lambda *_: output, **even))


def test_yt_under_uniform_noise_does_not_depend_on_the_prior(batch):
    seen = []
    process = bernoulli_process("uniform", "residual", "marginal")
    for prior in (batch["prior"], 1 - batch["prior"]):
        process.loss(lambda yt, t: seen.append(yt) or yt, **(batch | {"prior": prior}))
    assert torch.equal(*seen)


@given(
    noise=sampled_from(sorted(NOISES)),
    yt=sampled_from([0.0, 1.0]),
    p=floats(0.001, 0.999),
    a_t=floats(0.001, 0.999),
)
def test_residual_says_the_bayes_answer_whatever_the_noise(noise, yt, p, a_t):
    def one(value):
        return torch.full((1, 1, 1, 1), value, dtype=torch.float64)

    def seen(y0):
        chance = q_mean(one(y0), NOISES[noise](one(p)), one(a_t)).item()
        return chance if yt else 1 - chance

    bayes = seen(1.0) * p / (seen(1.0) * p + seen(0.0) * (1 - p))
    logits = RESIDUALS[noise](one(0.0), one(yt), one(p), one(a_t))
    assert_close(torch.sigmoid(logits).item(), bayes, rtol=0, atol=1e-5)


@pytest.mark.parametrize("noise", NOISES)
def test_many_samples_without_training_tend_to_the_prior(noise):
    # 4 standard errors of a mean of 10,000 bits are at most 0.02
    prior = torch.linspace(0.05, 0.95, 4).repeat_interleave(10_000).reshape(1, 4, 100, 100)
    schedule = make_schedule("cosine", 20)
    process = bernoulli_process(noise, "residual", "marginal")

    def predict_y0(yt, t):
        return torch.sigmoid(process.target(torch.zeros_like(yt), yt, prior, schedule.at(t)))

    *_, last = process.sample(
        predict_y0, prior, schedule, subset(20, 5), seeded(3, prior.shape), "ancestral", 1.0
    )
    assert_close(last.y0_hat.mean(dim=(0, 2, 3)), prior[0, :, 0, 0], rtol=0, atol=0.02)


def test_the_gaussian_ddim_is_its_ancestral_path_at_temperature_0(batch):
    prior = batch["prior"]
    cold, warm = (walk(GAUSSIAN, half, prior, "ancestral", heat) for heat in (0.0, 1.0))
    for heat in (0.0, 1.0):
        assert torch.equal(walk(GAUSSIAN, half, prior, "ddim", heat), cold)
    assert not torch.equal(cold, warm)


def test_uniform_noise_stays_noise_at_temperature_0(batch):
    process = bernoulli_process("uniform", "flip", "marginal")
    cold, warm = (walk(process, half, batch["prior"], temperature=heat) for heat in (0.0, 1.0))
    (first,) = cold[:1, 0]
    assert torch.equal(first, (seeded(2)(10) < 0.5).float())
    assert torch.equal(first, warm[0, 0])
    # the steps after it take the likelier bit
    assert torch.equal(cold[1, 0], first)
