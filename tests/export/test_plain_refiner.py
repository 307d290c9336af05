"""The packed refiner in plain operators gives the packed one's numbers bit for bit."""

import pytest
import torch
from torch import nn

from hidiff.export import pack_refiner
from hidiff.export.float_refiner import refiner_for_engines
from hidiff.export.plain_norm import PlainGroupNorm
from hidiff.export.plain_refiner import PlainRefiner
from hidiff.packed.int8 import int8_problem
from tests.export.test_pack import inputs, make

NUM_STEPS = 4
FORMS = {
    "as the paper's": {"condition": "each_step"},
    "as the shipped ones": {"fine": True, "hints": True},
    "published layout": {"published_layout": True},
    "two planes": {"planes": 2},
}


def run(refiner, arguments, t, conditions=None, *hints):
    """Return the conditions and the raw output at a step."""
    image, yt, prior, features = arguments
    times = torch.full((len(image),), t)
    with torch.no_grad():
        if conditions is None:
            conditions = refiner.condition(refiner.prepare(refiner.see(image, features)), times)
        return conditions, refiner.denoise(image, yt, prior, times, conditions, *hints)


def check_same(packed, plain, arguments, t, *hints):
    """Compare the 1-bit part, which reads the same conditions, and then the whole."""
    conditions, truth = run(packed, arguments, t, None, *hints)
    _, found = run(plain, arguments, t, [each.feature for each in conditions], *hints)
    # After the last sign the floats of the output layer remain. Marks are added to the input layer
    # in another order, so that a sign within rounding of zero may turn.
    apart = (found - truth).abs()
    assert truth.std() > 0.1 and (apart < 1e-4).float().mean() > (0.95 if hints else 0.99999)
    own, whole = run(plain, arguments, t, None, *hints)
    for ours, theirs in zip(own, conditions, strict=True):
        assert torch.allclose(ours, theirs.feature, rtol=1e-4, atol=1e-4)
    return truth, whole


@pytest.mark.parametrize("form", FORMS)
def test_a_packed_refiner_keeps_its_numbers(form):
    settings = dict(FORMS[form])
    planes = settings.get("planes", 1)
    packed = pack_refiner(make(**settings), steps=[4, 2, 1])
    plain = refiner_for_engines(packed, [4, 2, 1], NUM_STEPS)
    assert isinstance(plain, PlainRefiner) and plain.reads_hints == settings.get("hints", False)
    arguments = inputs(batch=2, height=64, width=96, planes=planes)
    hints = torch.randint(-1, 2, (2, planes, 64, 96)).float()
    outputs = [
        check_same(packed, plain, arguments, t, *([hints] if plain.reads_hints else []))[0]
        for t in (4, 2)
    ]
    assert not torch.equal(*outputs)


def test_hints_are_read_as_by_the_packed_refiner():
    packed = pack_refiner(make(hints=True), steps=[1])
    plain, arguments = refiner_for_engines(packed, [1], NUM_STEPS), inputs()
    marked = torch.zeros(1, 1, 64, 64)
    marked[:, :, 20:30, 20:30] = 1
    with_marks, _ = check_same(packed, plain, arguments, 1, marked)
    _, unmarked = check_same(packed, plain, arguments, 1, torch.zeros_like(marked))
    _, without = run(packed, arguments, 1)
    assert torch.allclose(unmarked, without, atol=1e-4)
    assert not torch.allclose(with_marks, without, atol=1e-3)


def test_an_unpacked_refiner_is_packed_and_others_keep_their_layers():
    arguments = inputs()
    float_one = make()
    plain = refiner_for_engines(float_one, [2], NUM_STEPS)
    check_same(pack_refiner(float_one, [2]), plain, arguments, 2)
    for refiner in (make(precision="real"), make(exchange="concatenation")):
        kept = refiner_for_engines(refiner, [2], NUM_STEPS)
        assert not isinstance(kept, PlainRefiner)
        (_, truth), (_, found) = run(refiner, arguments, 2), run(kept, arguments, 2)
        assert ((found - truth).abs() < 1e-3).float().mean() > 0.99 and truth.std() > 0.1


def test_an_unknown_step_has_no_answer():
    packed = pack_refiner(make(), steps=[4, 1])
    plain, arguments = refiner_for_engines(packed, [4, 1], NUM_STEPS), inputs()
    assert run(plain, arguments, 3)[1].isnan().all()
    assert not run(plain, arguments, 1)[1].isnan().any()


@pytest.mark.skipif(bool(int8_problem()), reason=int8_problem())
def test_convolutions_in_int8_become_floats():
    packed = pack_refiner(make(), steps=[1], condition_compute="int8")
    arguments = inputs()
    own, _ = run(refiner_for_engines(packed, [1], NUM_STEPS), arguments, 1)
    for ours, theirs in zip(own, run(packed, arguments, 1)[0], strict=True):
        assert torch.allclose(ours, theirs.feature, atol=0.1 * float(theirs.feature.std()))


@pytest.mark.parametrize("groups", [16, 8, 1])
def test_a_plain_group_norm_is_exact_on_a_large_map(groups):
    draws = torch.Generator().manual_seed(0)
    norm = nn.GroupNorm(groups, 16).double()
    for number in norm.parameters():
        nn.init.normal_(number, generator=draws)
    # a constant border, and means far from 0
    x = torch.randn(2, 16, 320, 352, generator=draws) + 10 * torch.randn(1, 16, 1, 1)
    x[..., :60] = x[..., :1, :1]
    truth = norm(x.double())
    assert (PlainGroupNorm(norm.float())(x) - truth).abs().max() < 3e-5
