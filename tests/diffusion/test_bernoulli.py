from itertools import combinations, product

import pytest
import torch
from hypothesis import assume, given
from hypothesis.strategies import floats, sampled_from
from torch.testing import assert_close

from hidiff.diffusion import (
    REVERSE,
    SCHEDULES,
    TARGETS,
    draw,
    flip_logits,
    flip_target,
    kl_bernoulli,
    make_schedule,
    marginal,
    plug_in,
    posterior,
    q_mean,
)

bits, chances = sampled_from([0.0, 1.0]), floats(0, 1)
# Away from the edges, where a law divides by what may be nothing.
inner = floats(0.01, 0.99)


def one(value):
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


def rows(*values):
    return [torch.as_tensor(v).reshape(-1, 1, 1, 1) for v in values]


def transition(prior, beta):
    """The 2x2 matrices of one step, rows: from 0 and 1, columns: to 0 and 1."""
    to_prior = torch.stack([1 - prior, prior], dim=-1)[:, None, :].expand(-1, 2, -1)
    keep, lose = (1 - beta)[:, None, None], beta[:, None, None]
    return keep * torch.eye(2, dtype=prior.dtype) + lose * to_prior


@pytest.fixture
def chains():
    """Random chains of 6 steps, one a row, with their 2x2 matrices multiplied out."""
    generator = torch.Generator().manual_seed(3)
    num_rows, num_steps = 500, 6
    betas = torch.rand(num_rows, num_steps, generator=generator, dtype=torch.float64)
    betas[::5, -1] = 1  # a last step that forgets all, as in the uniform schedule
    prior = torch.rand(num_rows, generator=generator, dtype=torch.float64)
    steps = [transition(prior, betas[:, i]) for i in range(num_steps)]
    alpha_bar = torch.cat([torch.ones(num_rows, 1), torch.cumprod(1 - betas, dim=1)], dim=1)
    return prior, alpha_bar, steps


def walk(steps, start, stop):
    matrix = torch.eye(2, dtype=torch.float64).expand(len(steps[0]), 2, 2)
    for step in steps[start:stop]:
        matrix = matrix @ step
    return matrix


@pytest.mark.parametrize("y0", [0, 1])
def test_forward_is_the_product_of_its_transition_matrices(chains, y0):
    prior, alpha_bar, steps = chains
    for t in range(len(steps) + 1):
        chance = q_mean(*rows(torch.full_like(prior, y0), prior, alpha_bar[:, t]))
        assert_close(chance.flatten(), walk(steps, 0, t)[:, y0, 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("y0", "yt"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_posterior_is_bayes_rule_on_the_transition_matrices(chains, y0, yt):
    prior, alpha_bar, steps = chains
    for s, t in combinations(range(len(steps) + 1), 2):
        joint = walk(steps, 0, s)[:, y0, :] * walk(steps, s, t)[:, :, yt]
        expected = joint[:, 1] / joint.sum(dim=1)
        bit_t, bit_0 = torch.full_like(prior, yt), torch.full_like(prior, y0)
        ours = posterior(*rows(bit_t, bit_0, prior, alpha_bar[:, t], alpha_bar[:, s]))
        assert_close(ours.flatten(), expected, rtol=0, atol=1e-12)


@given(yt=bits, y0_hat=chances, p=inner, a_s=floats(0.01, 0.99), ratio=chances)
def test_plug_in_puts_the_soft_mask_into_bayes_rule(yt, y0_hat, p, a_s, ratio):
    def seen(ys):
        chance = ratio * ys + (1 - ratio) * p
        return chance if yt else 1 - chance

    before = a_s * y0_hat + (1 - a_s) * p
    expected = seen(1) * before / (seen(1) * before + seen(0) * (1 - before))
    ours = plug_in(one(yt), one(y0_hat), one(p), one(a_s * ratio), one(a_s))
    assert_close(ours.item(), expected, rtol=0, atol=1e-12)


@given(bit=bits, p=chances, a=chances, b=chances)
def test_two_steps_are_one_longer_step(bit, p, a, b):
    y0, prior, a, b = map(one, (bit, p, a, b))
    assert_close(q_mean(q_mean(y0, prior, a), prior, b), q_mean(y0, prior, a * b))


@given(bit=bits, p=inner, a_s=floats(0.01, 1), ratio=floats(0, 0.99))
def test_stepping_back_from_every_yt_gives_the_forward_chance_again(bit, p, a_s, ratio):
    y0, prior, alpha_bar_t, alpha_bar_s = map(one, (bit, p, a_s * ratio, a_s))
    yt_is_one = q_mean(y0, prior, alpha_bar_t)
    back = yt_is_one * posterior(one(1.0), y0, prior, alpha_bar_t, alpha_bar_s) + (
        1 - yt_is_one
    ) * posterior(one(0.0), y0, prior, alpha_bar_t, alpha_bar_s)
    assert_close(back, q_mean(y0, prior, alpha_bar_s), rtol=0, atol=1e-12)


@given(yt=bits, p=inner, a_s=floats(0.01, 0.99), ratio=chances)
def test_marginal_of_the_bayes_answer_is_the_reverse_of_the_forward_process(yt, p, a_s, ratio):
    # For y0 ~ prior every yt ~ prior too, and ys given yt is the forward step from yt to ys.
    yt, prior, a_t, a_s, ratio = map(one, (yt, p, a_s * ratio, a_s, ratio))
    y0_hat = q_mean(yt, prior, a_t)
    assert_close(marginal(yt, y0_hat, prior, a_t, a_s), q_mean(yt, prior, ratio))


@given(yt=bits, bit=bits, p=inner, a_s=floats(0.01, 1), ratio=floats(0, 0.99))
def test_both_ways_back_are_the_posterior_of_a_certain_mask(yt, bit, p, a_s, ratio):
    arguments = [one(v) for v in (yt, bit, p, a_s * ratio, a_s)]
    for reverse in REVERSE.values():
        assert_close(reverse(*arguments), posterior(*arguments))


@given(yt=bits, y0_hat=chances, p=chances, a_t=floats(0, 0.99))
def test_the_last_step_gives_y0_hat_itself(yt, y0_hat, p, a_t):
    for reverse in REVERSE.values():
        last = reverse(one(yt), one(y0_hat), one(p), one(a_t), one(1.0))
        assert_close(last, one(y0_hat), rtol=0, atol=1e-15)


@given(yt=bits, bit=bits, p=chances, a_s=floats(0, 0.99))
def test_a_step_that_forgets_all_leaves_the_forward_chance(yt, bit, p, a_s):
    # beta = 1: yt says nothing of ys.
    ours = posterior(one(yt), one(bit), one(p), one(0.0), one(a_s))
    assert_close(ours, q_mean(one(bit), one(p), one(a_s)))


@given(yt=bits, a_s=floats(0.01, 1), ratio=floats(0.01, 0.99))
def test_impossible_evidence_takes_the_limit_of_the_prior(yt, a_s, ratio):
    # yt contradicts y0 and the prior both.
    differs = (1 - ratio) / (ratio * (1 - a_s) + 1 - ratio)
    y0 = prior = one(1 - yt)
    ours = posterior(one(yt), y0, prior, one(a_s * ratio), one(a_s))
    assert_close(ours.item(), abs(yt - differs), rtol=0, atol=1e-12)
    near = posterior(one(yt), y0, (prior - 1e-9).abs(), one(a_s * ratio), one(a_s))
    assert_close(near, ours, rtol=0, atol=1e-4)


@given(yt=bits, a_s=inner, ratio=inner)
def test_the_limit_of_the_design_for_an_empty_prior(yt, a_s, ratio):
    expected = ratio * (1 - a_s) / (ratio * (1 - a_s) + 1 - ratio)
    ours = posterior(one(1.0), one(0.0), one(0.0), one(a_s * ratio), one(a_s))
    assert_close(ours.item(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("reverse", REVERSE)
def test_values_and_gradients_are_finite_at_every_corner(name, reverse):
    schedule = make_schedule(name, 20)
    # 1e-42 is denormal: its inverse is infinite. 1 - 6e-8 is the float next to 1.
    corners = [0.0, 1e-42, 1e-30, 1e-20, 1e-10, 0.5, 1 - 6e-8, 1.0]
    grid = torch.tensor(list(product([0.0, 1.0], [0.0, 1.0], corners, corners)))
    yt, y0, prior, y0_hat = (grid[:, i].reshape(1, 1, 1, -1).clone() for i in range(4))
    for t in range(1, 21):
        for s in {0, t // 2, t - 1}:
            alpha_bar_t, alpha_bar_s = (schedule.at(torch.tensor([step])) for step in (t, s))
            inputs = [x.clone().requires_grad_() for x in (y0, prior, y0_hat)]
            truth = posterior(yt, inputs[0], inputs[1], alpha_bar_t, alpha_bar_s)
            guess = REVERSE[reverse](yt, inputs[2], inputs[1], alpha_bar_t, alpha_bar_s)
            loss = kl_bernoulli(truth, guess)
            for value in (truth, guess):
                assert ((value >= 0) & (value <= 1)).all()
            assert loss.isfinite().all() and (loss > -1e-6).all()
            for gradient in torch.autograd.grad(loss.sum(), inputs):
                assert gradient.isfinite().all()


def test_rounding_does_not_make_a_chance_above_one():
    yt, y0, prior, alpha_bar_t, alpha_bar_s = rows(0.0, 1.0, 0.69173270, 0.49545130, 1 - 2**-24)
    assert alpha_bar_s < 1  # the largest float32 that is: without a clamp, 1.0000002
    assert posterior(yt, y0, prior, alpha_bar_t, alpha_bar_s) <= 1


@pytest.mark.parametrize("step", [posterior, *REVERSE.values()])
def test_gradients_are_those_of_finite_differences(step):
    generator = torch.Generator().manual_seed(1)
    y0, prior = (
        torch.rand(2, 1, 2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
        for _ in range(2)
    )
    yt = torch.tensor([0.0, 1.0] * 6, dtype=torch.float64).reshape(2, 1, 2, 3)
    alpha_bar_t, alpha_bar_s = rows(torch.tensor([0.2, 0.0]), torch.tensor([0.7, 0.4]))

    def of(y0, prior):
        return step(yt, y0, prior, alpha_bar_t.double(), alpha_bar_s.double())

    assert torch.autograd.gradcheck(of, (y0, prior))


@given(yt=bits, p=floats(1e-5, 1 - 1e-5), a_t=floats(0, 0.999))
def test_residual_says_the_bayes_answer_if_its_network_says_nothing(yt, p, a_t):
    def seen(y0):
        chance = a_t * y0 + (1 - a_t) * p
        return chance if yt else 1 - chance

    evidence = seen(1) * p + seen(0) * (1 - p)
    assume(evidence > 1e-9)
    logits = TARGETS["residual"](one(0.0), one(yt), one(p), one(a_t))
    assert_close(torch.sigmoid(logits).item(), seen(1) * p / evidence, rtol=0, atol=2e-6)


@given(yt=bits, output=floats(-30, 30))
def test_flip_turns_yt_over_with_the_chance_its_network_says(yt, output):
    logits = TARGETS["flip"](one(output), one(yt), one(0.3), one(0.5))
    flip = torch.sigmoid(one(output))
    assert_close(torch.sigmoid(logits), (one(yt) - flip).abs())


@given(yt=bits, bit=bits, output=floats(-30, 30))
def test_flip_logits_are_right_about_flip_where_y0_logits_are_about_y0(yt, bit, output):
    logits, yt, y0 = one(output), one(yt), one(bit)
    right_on_flip = torch.sigmoid((2 * flip_target(yt, y0) - 1) * flip_logits(logits, yt))
    right_on_y0 = torch.sigmoid((2 * y0 - 1) * logits)
    assert_close(right_on_flip, right_on_y0)


@pytest.mark.parametrize("yt", [0.0, 1.0])
def test_the_gradient_reaches_the_prior_of_residual_up_to_the_clamp(yt):
    values = [0.0, 1e-7, 1e-5, 0.5, 1 - 1e-5, 1.0]
    prior = torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, -1).requires_grad_()
    logits = TARGETS["residual"](
        torch.zeros_like(prior), torch.full_like(prior, yt), prior, one(0.2)
    )
    (gradient,) = torch.autograd.grad(logits.sum(), prior)
    bayes = q_mean(torch.full_like(prior, yt), prior, one(0.2)).detach()
    inside = (bayes > 1e-6) & (bayes < 1 - 1e-6)
    expected = torch.where(inside, 0.8 / (bayes * (1 - bayes)), torch.zeros_like(bayes))
    assert_close(gradient, expected)


def test_draws_follow_their_chance_and_certainty_is_certain():
    uniform = torch.rand(1, 1, 100, 100, generator=torch.Generator().manual_seed(0))
    for p in (0.0, 0.2, 1.0):
        drawn = draw(torch.full_like(uniform, p), uniform)
        assert ((drawn == 0) | (drawn == 1)).all()
        assert abs(drawn.mean().item() - p) <= 4 * (p * (1 - p) / 10_000) ** 0.5
