"""Our diffusion against the numbers of the paper's published code (tests/golden/README.md)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from hidiff.diffusion import (
    SCHEDULES,
    TARGETS,
    Schedule,
    cross_entropy,
    ddim_mean,
    flip_logits,
    flip_target,
    focal,
    kl_bernoulli,
    make_schedule,
    plug_in,
    posterior,
    q_mean,
)

FILE = Path(__file__).parents[1] / "golden" / "bernoulli_diffusion.npz"
THEIR_NAME = {"uniform": "alpha_bar_linear"}


def close(ours, golden, atol=1e-6):
    assert_close(ours, torch.as_tensor(golden), rtol=0, atol=atol)


def golden_schedules():
    with np.load(FILE) as golden:
        for name in SCHEDULES:
            theirs = THEIR_NAME.get(name, name)
            for num_steps in (10, 20, 100, 1000):
                if f"betas/{theirs}/{num_steps}" in golden:
                    yield name, num_steps


@pytest.mark.parametrize(("name", "num_steps"), list(golden_schedules()))
def test_schedules(name, num_steps):
    theirs = THEIR_NAME.get(name, name)
    schedule = make_schedule(name, num_steps)
    with np.load(FILE) as golden:
        close(schedule.betas, golden[f"betas/{theirs}/{num_steps}"])
        close(schedule.alpha_bar[1:], golden[f"alphas_cumprod/{theirs}/{num_steps}"])


def test_a_subset_steps_by_the_betas_of_a_respaced_schedule():
    with np.load(FILE) as golden:
        visited = torch.as_tensor(golden["respace/1000/10"]) + 1
        respaced = torch.as_tensor(golden["respaced_betas/linear/1000/10"])
    alpha_bar = make_schedule("linear", 1000).alpha_bar
    kept = alpha_bar[visited] / torch.cat([alpha_bar[:1], alpha_bar[visited[:-1]]])
    close(1 - kept, respaced)


@pytest.fixture(params=["K1", "K3"])
def golden(request):
    with np.load(FILE) as file:
        prefix = request.param + "/"
        return {
            name.removeprefix(prefix): torch.as_tensor(file[name])
            for name in file.files
            if name.startswith(prefix)
        }


@pytest.fixture
def ours(golden):
    schedule: Schedule = make_schedule("cosine", 10)
    t = golden["t"] + 1  # there the first step is 0
    alpha_bar_t, alpha_bar_s = schedule.at(t), schedule.at(t - 1)
    y0, yt, prior = golden["y0"], golden["yt"], golden["p"]
    # What the network says there is flip, after the sigmoid.
    y0_logits = TARGETS["flip"](torch.logit(golden["eps"]), yt, prior, alpha_bar_t)
    y0_hat = torch.sigmoid(y0_logits)
    return {
        "q_mean": q_mean(y0, prior, alpha_bar_t),
        "posterior": posterior(yt, y0, prior, alpha_bar_t, alpha_bar_s),
        "plug_in": plug_in(yt, y0_hat, prior, alpha_bar_t, alpha_bar_s),
        "ddim": ddim_mean(yt, y0_hat, prior, alpha_bar_t, alpha_bar_s),
        "y0_logits": y0_logits,
        "y0_hat": y0_hat,
        "later": t > 1,
    }


def test_forward(golden, ours):
    close(ours["q_mean"], golden["q_mean"])


def test_posterior(golden, ours):
    close(ours["posterior"][ours["later"]], golden["posterior_mean_t_ge_1"])


def test_y0_hat_of_flip(golden, ours):
    close(ours["y0_hat"], golden["pred_y0_from_eps"])


def test_plug_in_and_its_last_step(golden, ours):
    close(ours["plug_in"], golden["p_mean"])
    close(ours["plug_in"][ours["later"]], golden["model_posterior_mean_t_ge_1"])


# Theirs has floors of 1e-7 in float32, which show near 0 and 1.
@pytest.mark.parametrize(("margin", "atol"), [(0.01, 2e-5), (0.001, 1e-4)])
def test_kl_in_nats(golden, ours, margin, atol):
    truth, guess = ours["posterior"][ours["later"]], ours["plug_in"][ours["later"]]
    within = [(p >= margin) & (p <= 1 - margin) for p in (truth, guess)]
    both = within[0] & within[1]
    assert both.float().mean() > 0.5
    close(kl_bernoulli(truth, guess)[both], golden["kl_t_ge_1_nats"][both], atol)


def test_likelihood_at_the_first_step_in_nats(golden, ours):
    first = ~ours["later"]
    likelihood = cross_entropy(ours["y0_logits"], golden["y0"])[first]
    close(likelihood, golden["nll_t_0_nats"])


def test_focal_in_nats(golden, ours):
    flips = flip_logits(ours["y0_logits"], golden["yt"])
    per_bit = focal(flips, flip_target(golden["yt"], golden["y0"]))
    close(per_bit.mean(dim=(1, 2, 3)), golden["focal_per_sample_nats"])


def test_ddim(golden, ours):
    close(ours["ddim"][ours["later"]], golden["ddim_mean_t_ge_1"])
