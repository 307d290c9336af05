"""Certain bits stay certain: at every step, in every sampler, and in the loss."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hidiff.diffusion import (
    GAUSSIAN,
    NOISES,
    REVERSE,
    SAMPLERS,
    SCHEDULES,
    TARGETS,
    Evidence,
    LossWeights,
    bernoulli_process,
    clamp_evidence,
    draws_from,
    make_schedule,
    subset,
    sure_logits,
)

SHAPE = (2, 3, 8, 8)
PROCESSES = {
    f"{noise}-{target}-{reverse}": bernoulli_process(noise, target, reverse)
    for noise in NOISES
    for target in TARGETS
    for reverse in REVERSE
} | {"gaussian": GAUSSIAN}


def marks(seed=0):
    draws = torch.Generator().manual_seed(seed)
    known = torch.rand(SHAPE, generator=draws) < 0.3
    return Evidence(known, torch.randint(0, 2, SHAPE, generator=draws).float())


def walk(process, prior, sampler, temperature, evidence, schedule="cosine"):
    """Every step of a network that says the opposite of the evidence, as loudly as it can."""
    schedule = make_schedule(schedule, 20)
    contrary = 50 * (1 - 2 * marks().y0)

    def predict_y0(yt, t):
        return torch.sigmoid(process.target(contrary, yt, prior, schedule.at(t)))

    uniform = draws_from(torch.Generator().manual_seed(1), SHAPE)
    steps = subset(20, 5)
    return list(
        process.sample(predict_y0, prior, schedule, steps, uniform, sampler, temperature, evidence)
    )


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("temperature", [0.0, 1.0, 100.0])
def test_a_certain_bit_is_itself_at_every_step_and_in_the_result(name, sampler, temperature):
    evidence = marks()
    prior = clamp_evidence(torch.rand(SHAPE), evidence)
    steps = walk(PROCESSES[name], prior, sampler, temperature, evidence)
    assert len(steps) == 5
    for step in steps:
        for values in (step.yt, step.y0_hat):
            assert values.isfinite().all()
            assert torch.equal(values[evidence.known], evidence.y0[evidence.known])
    # without evidence the network has its way
    last = walk(PROCESSES[name], prior, sampler, temperature, None)[-1].y0_hat
    assert not torch.equal(last[evidence.known], evidence.y0[evidence.known])


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_evidence_moves_no_draw_of_another_pixel(name, schedule):
    evidence, prior = marks(), torch.rand(SHAPE)
    given_evidence = walk(PROCESSES[name], prior, "ancestral", 1.0, evidence, schedule)
    without = walk(PROCESSES[name], prior, "ancestral", 1.0, None, schedule)
    for step, other in zip(given_evidence, without, strict=True):
        for one, two in ((step.yt, other.yt), (step.y0_hat, other.y0_hat)):
            assert torch.equal(one[~evidence.known], two[~evidence.known])


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("right", [True, False])
def test_the_loss_of_certain_bits_is_finite_and_teaches_nothing_there(name, schedule, right):
    evidence = marks()
    y0 = evidence.y0 if right else 1 - evidence.y0
    prior = clamp_evidence(torch.rand(SHAPE), evidence).requires_grad_()
    raw = torch.randn(SHAPE).requires_grad_()
    seen = []
    losses = PROCESSES[name].loss(
        lambda yt, t: seen.append(yt) or raw,
        y0,
        prior,
        torch.tensor([1, 20]),
        make_schedule(schedule, 20),
        weights=LossWeights(kl=1, focal=1, cross_entropy=1, soft_dice=1),
        uniform=torch.rand(SHAPE),
        evidence=evidence,
    )
    losses["loss"].backward()
    assert losses["loss"].isfinite() and raw.grad.isfinite().all()
    assert prior.grad is None or prior.grad.isfinite().all()
    certain = (2 * evidence.y0 - 1 if name == "gaussian" else evidence.y0)[evidence.known]
    assert torch.equal(seen[0][evidence.known], certain)
    assert not raw.grad[evidence.known].any()
    assert raw.grad[~evidence.known].any()


def test_without_evidence_the_very_tensor_comes_back():
    values = torch.rand(SHAPE)
    assert clamp_evidence(values, None) is values


@given(bit=st.sampled_from([0.0, 1.0]), value=st.floats(0, 1, width=32), known=st.booleans())
def test_logits_that_are_clamped_say_the_certain_bit(bit, value, known):
    one = torch.full((1, 1, 1, 1), 1.0)
    evidence = Evidence(one.bool() & known, bit * one)
    assert clamp_evidence(value * one, evidence).item() == (bit if known else value)
    chance = torch.sigmoid(clamp_evidence(0 * one, evidence, sure_logits)).item()
    assert abs(chance - (bit if known else 0.5)) < 2e-6
