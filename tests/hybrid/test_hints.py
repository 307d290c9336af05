"""Marks in the hybrid: certain ones are obeyed, hints are read, and no marks change no bit."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from hidiff.datasets import SYNTHETIC_LABELS
from hidiff.diffusion import SAMPLERS, Evidence, LossWeights
from hidiff.experiment import make_hybrid
from hidiff.export import pack_refiner
from hidiff.hybrid import HybridSegmentor, know
from hidiff.marks import Click, Stroke, draw_marks
from tests.hybrid.test_model import KINDS, uniforms
from tests.tiny import make_tiny, shake

SIZE = (64, 64)
EVERY = LossWeights(kl=1, focal=1, cross_entropy=1, soft_dice=1)


@pytest.fixture
def image():
    return torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(2)) * 2 - 1


def make(folder, labels="one_class", hints=True, **diffusion):
    recipe = make_tiny(folder, labels, refiner={"hints": hints}, diffusion=diffusion)
    hybrid = shake(make_hybrid(recipe)).eval()
    if hints:
        draws = torch.Generator().manual_seed(3)
        with torch.no_grad():
            hybrid.refiner.hint_input.weight.normal_(generator=draws)
    return hybrid


def marks(kind, batch=1):
    """Hints and evidence of the same marks on every image of a batch."""
    drawn = draw_marks(
        [
            Click(plane=0, point=(20, 30), radius=5),
            Stroke(plane=KINDS[kind] - 1, add=False, points=((40, 10), (50, 40)), radius=2),
            Click(plane=None, point=(60, 60), radius=2),
            Click(plane=0, exact=False, point=(10, 50), radius=4),
        ],
        SIZE,
        SIZE,
        KINDS[kind],
        exclusive=kind == "exclusive",
    )
    hints, exact, y0 = (
        each.expand(batch, *each.shape) for each in (drawn.hints, drawn.exact, drawn.y0)
    )
    return hints, Evidence(exact, y0)


@torch.no_grad()
def refine(hybrid, image, look=None, **given):
    look = look or hybrid.look(image)
    planes = look.prior.shape[1]
    return list(hybrid.refine(image, look, [4, 2, 1], uniforms(2, planes, batch=1), **given))


def equal(left, right):
    return all(
        torch.equal(a.yt, b.yt) and torch.equal(a.y0_hat, b.y0_hat)
        for one, two in zip(left, right, strict=True)
        for a, b in zip(one, two, strict=True)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_without_marks_a_refiner_with_hint_planes_is_the_one_without(
    tmp_path, image, kind, sampler
):
    plain, hinted = (make(tmp_path, kind, hints) for hints in (False, True))
    truth = refine(plain, image, sampler=sampler)
    assert equal(refine(hinted, image, sampler=sampler), truth)
    nothing = torch.zeros_like(truth[0][0].yt)
    no_evidence = Evidence(nothing.bool(), nothing)
    assert equal(refine(hinted, image, sampler=sampler, hints=nothing), truth)
    assert equal(refine(hinted, image, sampler=sampler, evidence=no_evidence), truth)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hints", [True, False], ids=["hint planes", "none"])
@pytest.mark.parametrize(
    ("sampler", "diffusion"),
    [
        ("ancestral", {}),
        ("ddim", {"target": "flip", "noise": "uniform"}),
        ("ancestral", {"target": "flip", "reverse": "plug_in"}),
        ("ancestral", {"kind": "gaussian"}),
    ],
    ids=["default", "uniform", "paper", "gaussian"],
)
def test_exact_marks_are_obeyed_at_every_step_by_every_model(
    tmp_path, image, kind, hints, sampler, diffusion
):
    hybrid = make(tmp_path, kind, hints, **diffusion)
    planes, evidence = marks(kind)
    steps = refine(hybrid, image, sampler=sampler, hints=planes, evidence=evidence)
    for taken in steps:
        for step in taken:
            for values in (step.yt, step.y0_hat):
                assert values.isfinite().all()
                assert torch.equal(values[evidence.known], evidence.y0[evidence.known])


def test_hints_reach_pixels_around_them_and_rough_ones_alone_do_too(tmp_path, image):
    hybrid = make(tmp_path)
    hints, evidence = marks("one_class")
    without = refine(hybrid, image)[0][0].y0_hat
    hinted = refine(hybrid, image, hints=hints)[0][0].y0_hat
    certain = refine(hybrid, image, evidence=evidence)[0][0].y0_hat
    assert (hinted != without)[hints == 0].any() and (certain != without)[hints == 0].any()
    # a model without planes obeys evidence, and does not read hints
    plain = make(tmp_path, hints=False)
    assert equal(refine(plain, image, hints=hints), refine(plain, image))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hints", [True, False], ids=["hint planes", "none"])
def test_a_packed_model_obeys_marks_and_says_what_the_float_one_says(tmp_path, image, kind, hints):
    hybrid = make(tmp_path, kind, hints)
    packed = HybridSegmentor(
        hybrid.segmentor, pack_refiner(hybrid.refiner, [4, 2, 1]), hybrid.labels, hybrid.settings
    )
    planes, evidence = marks(kind)
    look = hybrid.look(image).detach()
    for given_marks in ({}, {"hints": planes, "evidence": evidence}):
        theirs, ours = (
            torch.stack([first.y0_hat for first, _ in refine(each, image, look, **given_marks)])
            for each in (hybrid, packed)
        )
        # a sign within rounding of zero may flip, which moves what it reaches a little
        assert (ours - theirs).abs().median() < 1e-3
        assert ((ours > 0.5) == (theirs > 0.5)).float().mean() > 0.99
    assert torch.equal(ours[:, evidence.known], evidence.y0[evidence.known].expand(3, -1))


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_takes_marks_and_its_gradient_reaches_the_hint_weights(tmp_path, image, kind):
    hybrid = make(tmp_path, kind).train()
    hints, evidence = marks(kind)
    y0 = torch.where(evidence.known, evidence.y0, (torch.rand(hints.shape) < 0.5).float())
    draws = torch.tensor([2]), torch.rand_like(y0)
    look = hybrid.look(image)

    def loss(**given_marks):
        hybrid.zero_grad()
        inside = torch.ones(1, 1, *SIZE)
        losses = hybrid.refiner_loss(
            hybrid.refiner, image, y0, look.detach(), draws, EVERY, inside, **given_marks
        )
        losses["loss"].backward()
        return losses["loss"].item(), hybrid.refiner.hint_input.weight.grad.clone()

    (without, still), (hinted, moved) = loss(), loss(hints=hints)
    assert not still.any() and moved.any() and hinted != without
    certain, gradient = loss(hints=hints, evidence=evidence)
    assert torch.tensor(certain).isfinite() and gradient.isfinite().all() and gradient.any()
    # a batch without marks costs the same to the bit as one whose hints are zero
    assert loss(hints=torch.zeros_like(hints))[0] == without


# The prior


def test_a_prior_that_knows_shares_out_what_a_class_gives_up():
    prior = torch.tensor([0.1, 0.6, 0.3]).reshape(1, 3, 1, 1)

    def told(says, labels="exclusive", prior=prior):
        hint = torch.tensor(says).reshape(1, 3, 1, 1)
        evidence = Evidence(hint != 0, (hint > 0).float())
        return know(prior, evidence, SYNTHETIC_LABELS[labels]).flatten()

    assert_close(told([0, -1, 0]), torch.tensor([0.25, 0.0, 0.75]))
    assert_close(told([-1, 1, -1]), torch.tensor([0.0, 1.0, 0.0]))
    assert_close(told([-1, -1, 0]), torch.tensor([0.0, 0.0, 1.0]))
    # regions are planes of their own
    assert_close(told([0, -1, 0], "regions"), torch.tensor([0.1, 0.0, 0.3]))
    # all that the prior believed in is ruled out
    sure = torch.tensor([0.0, 1.0, 0.0]).reshape(1, 3, 1, 1)
    assert_close(told([0, -1, 0], prior=sure), torch.tensor([0.5, 0.0, 0.5]))


@given(seed=st.integers(0, 99), share=st.floats(0, 1), kind=st.sampled_from(sorted(KINDS)))
def test_a_prior_that_knows_is_one_still_and_elsewhere_the_same(seed, share, kind):
    labels, planes = SYNTHETIC_LABELS[kind], KINDS[kind]
    draws = torch.Generator().manual_seed(seed)
    prior = labels.activate(4 * torch.randn(2, planes, 6, 7, generator=draws))
    true = torch.randint(0, planes, (2, 1, 6, 7), generator=draws)
    y0 = (torch.arange(planes)[:, None, None] == true).float()
    known = torch.rand(prior.shape, generator=draws) < share
    if kind == "exclusive":  # as draw_marks gives them: one class, or some that are ruled out
        known = torch.where(y0.gather(1, true) * known.gather(1, true) > 0, True, known)
        known |= (known.sum(dim=1, keepdim=True) == planes - 1) & (y0 > 0)
    evidence = Evidence(known, y0)
    told = know(prior, evidence, labels)
    assert torch.equal(told[known], y0[known])
    assert told.min() >= 0 and told.max() <= 1
    untouched = ~known.any(dim=1, keepdim=True).expand_as(known)
    assert torch.equal(told[untouched], prior[untouched])
    if kind == "exclusive":
        assert_close(told.sum(dim=1), torch.ones(2, 6, 7))
    assert know(prior, None, labels) is prior
