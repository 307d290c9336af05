"""Segmentor and refiner as one: what is looked at, what is refined, what is refused."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from hidiff.diffusion import LossWeights, subset
from hidiff.experiment import make_hybrid
from hidiff.hybrid import DiffusionSettings, HybridSegmentor
from hidiff.labels import Labels
from tests.tiny import make_tiny, shake

KINDS = {"one_class": 1, "exclusive": 3, "regions": 2}


@pytest.fixture
def image():
    return torch.rand(2, 3, 64, 64) * 2 - 1


def uniforms(count, planes, batch=2):
    """One `uniform(t)` a sample, the same numbers whenever asked."""

    def of(sample):
        def uniform(t):
            draws = torch.Generator().manual_seed(100 * sample + t)
            return torch.rand(batch, planes, 64, 64, generator=draws)

        return uniform

    return [of(sample) for sample in range(count)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_prior_is_a_probability_of_every_plane(tmp_path, image, kind):
    hybrid = make_hybrid(make_tiny(tmp_path, kind))
    look = hybrid.look(image)
    assert look.prior.shape == look.logits.shape == (2, KINDS[kind], 64, 64)
    assert look.prior.min() > 0 and look.prior.max() < 1
    if kind == "exclusive":
        assert_close(look.prior.sum(dim=1), torch.ones(2, 64, 64))
    detached = look.detach()
    assert not any(each.requires_grad for each in (*detached[:2], *detached.features))
    assert all(each.requires_grad for each in (*look[:2], *look.features))


@pytest.mark.parametrize("kind", KINDS)
def test_an_untrained_residual_refiner_returns_the_prior_in_one_step(tmp_path, image, kind):
    recipe = make_tiny(tmp_path, kind, diffusion={"schedule": "uniform"})
    hybrid = make_hybrid(recipe).eval()
    with torch.no_grad():
        look = hybrid.look(image)
        ((step,),) = hybrid.refine(image, look, [4], uniforms(1, KINDS[kind]))
    # the schedule `uniform` ends at alpha_bar 0: nothing of yT is left in the answer
    assert_close(step.y0_hat, look.prior, atol=1e-6, rtol=1e-5)


def test_the_mean_of_an_untrained_refiners_samples_tends_to_the_prior(tmp_path, image):
    """By the law of total probability, if y0_hat is the Bayes answer and the steps are exact."""
    recipe = make_tiny(tmp_path, diffusion={"schedule": "uniform", "reverse": "marginal"})
    hybrid = make_hybrid(recipe).eval()
    with torch.no_grad():
        look = hybrid.look(image)
        look = look._replace(prior=0.2 * look.prior)
        *_, samples = hybrid.refine(image, look, [4, 2], uniforms(8, 1))
    mean = torch.stack([sample.y0_hat for sample in samples]).mean()
    # 8 x 8192 draws of a chance near 0.1: the mean is within 4 deviations of 0.3 / 256
    assert abs(mean - look.prior.mean()) < 0.0047


@pytest.mark.parametrize("condition", ["each_step", "once"])
def test_refining_asks_no_segmentor_and_does_shared_work_once(tmp_path, image, condition):
    hybrid = shake(make_hybrid(make_tiny(tmp_path, refiner={"condition": condition}))).eval()
    look = hybrid.look(image).detach()
    calls = {"segmentor": 0, "prepare": 0, "condition": 0, "denoise": 0}

    def counted(name, real):
        def count(*args):
            calls[name] += 1
            return real(*args)

        return count

    for name, owner in (
        ("segmentor", hybrid.segmentor),
        ("prepare", hybrid.refiner),
        ("condition", hybrid.refiner),
        ("denoise", hybrid.refiner),
    ):
        method = "forward" if name == "segmentor" else name

        setattr(owner, method, counted(name, getattr(owner, method)))
    with torch.no_grad():
        list(hybrid.refine(image, look, [4, 2], uniforms(3, 1)))
    assert calls == {"segmentor": 0, "prepare": 1, "condition": 2, "denoise": 6}


@pytest.mark.parametrize("sampler", ["ancestral", "ddim"])
@pytest.mark.parametrize("num_steps", [1, 2, 4])
def test_samples_depend_on_their_draws_alone(tmp_path, image, sampler, num_steps):
    hybrid = shake(make_hybrid(make_tiny(tmp_path))).eval()
    steps = subset(4, num_steps)
    with torch.no_grad():
        look = hybrid.look(image)
        both = list(hybrid.refine(image, look, steps, uniforms(2, 1), sampler))
        second = list(hybrid.refine(image, look, steps, uniforms(2, 1)[1:], sampler))
    assert [first.t for first, _ in both] == steps
    for (_, step), (again,) in zip(both, second, strict=True):
        assert torch.equal(step.yt, again.yt) and torch.equal(step.y0_hat, again.y0_hat)
        assert set(step.yt.unique().tolist()) <= {0.0, 1.0}
    assert not torch.equal(both[-1][0].y0_hat, both[-1][1].y0_hat)


def test_a_loss_calls_the_refiner_once(tmp_path, image):
    hybrid = make_hybrid(make_tiny(tmp_path))
    seen = []

    class Counted(nn.Module):
        def forward(self, *args):
            seen.append(args)
            return hybrid.refiner(*args)

    y0 = torch.randint(0, 2, (2, 1, 64, 64)).float()
    draws = torch.tensor([1, 3]), torch.rand_like(y0)
    every = LossWeights(kl=1, focal=1, cross_entropy=1, soft_dice=1)
    losses = hybrid.refiner_loss(
        Counted(), image, y0, hybrid.look(image), draws, every, torch.ones_like(y0)
    )
    assert len(seen) == 1
    assert set(losses) == {"loss", "kl", "focal", "cross_entropy", "soft_dice"}
    assert_close(losses["loss"], sum(losses[name] for name in losses if name != "loss"))


# Refused


def parts(tmp_path):
    hybrid = make_hybrid(make_tiny(tmp_path))
    return hybrid.segmentor, hybrid.refiner, hybrid.labels


def test_a_module_that_is_no_segmentor_is_told_how_to_become_one(tmp_path):
    _, refiner, labels = parts(tmp_path)
    with pytest.raises(ValueError, match=r"Conv2d is no segmentor.*hidiff\.wrap"):
        HybridSegmentor(nn.Conv2d(3, 1, 1), refiner, labels, DiffusionSettings())


def test_planes_and_labels_must_agree(tmp_path):
    segmentor, refiner, _ = parts(tmp_path)
    labels = Labels(kind="exclusive", classes={"a": (1,), "b": (2,)})
    with pytest.raises(ValueError, match="gives 1 planes, but the labels want 3: background, a, b"):
        HybridSegmentor(segmentor, refiner, labels, DiffusionSettings())


def test_an_unknown_schedule_is_answered_with_those_that_exist():
    with pytest.raises(ValueError, match="schedule is 'sine', but must be one of cosine, cosine2"):
        DiffusionSettings(schedule="sine")


def test_a_schedule_whose_betas_leave_0_to_1_is_refused(tmp_path):
    segmentor, refiner, labels = parts(tmp_path)
    with pytest.raises(ValueError, match="a beta is a chance"):
        HybridSegmentor(
            segmentor, refiner, labels, DiffusionSettings(schedule="linear", num_steps=10)
        )
