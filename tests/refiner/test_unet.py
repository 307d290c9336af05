"""The refiner's shape, its start, and what it computes once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hidiff.refiner import Refiner, RefinerSettings


def make(feature_channels=(8, 12, 16, 20), planes=2, **changes):
    torch.manual_seed(0)
    return Refiner(3, planes, feature_channels, RefinerSettings(**{"width": 8, **changes}))


def inputs(batch=2, height=64, width=96, planes=2, channels=(8, 12, 16, 20)):
    torch.manual_seed(1)
    return {
        "image": torch.randn(batch, 3, height, width),
        "yt": torch.randint(0, 2, (batch, planes, height, width)).float(),
        "prior": torch.rand(batch, planes, height, width),
        "t": torch.randint(1, 11, (batch,)),
    }, [
        torch.randn(batch, c, height // s, width // s)
        for c, s in zip(channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("precision", ["binary", "real"])
@pytest.mark.parametrize(
    "changes", [{"condition": "each_step"}, {"condition": "once"}, {"fine": True}]
)
def test_it_starts_at_zero_and_every_parameter_learns(precision, changes):
    refiner = make(precision=precision, **changes)
    given_, features = inputs()
    raw = refiner(**given_, features=features)
    assert raw.shape == given_["yt"].shape
    assert not raw.any()
    torch.nn.init.normal_(refiner.output.weight)
    target = torch.randn_like(raw)
    for _ in range(2):  # the biases of time start at zero, so the embedding moves second
        loss = ((refiner(**given_, features=features) - target) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            for parameter in refiner.parameters():
                parameter -= 0.1 * parameter.grad
    still = [name for name, p in refiner.named_parameters() if not p.grad.any()]
    assert not still


@settings(max_examples=5)
@given(width=st.sampled_from([8, 16, 24, 40]), rows=st.integers(2, 4), columns=st.integers(2, 4))
def test_any_multiple_of_8_and_of_32_fits(width, rows, columns):
    refiner = make(width=width).eval()
    given_, features = inputs(1, 32 * rows, 32 * columns)
    assert refiner(**given_, features=features).shape == given_["yt"].shape


def test_a_size_that_does_not_fit_says_what_does():
    refiner = make()
    given_, features = inputs(1, 64, 64)
    with pytest.raises(ValueError, match=r"image is 60x64.*multiples of 32"):
        refiner(
            **{k: v[:, :, :60] if v.ndim == 4 else v for k, v in given_.items()},
            features=features,
        )


def test_batch_mates_do_not_matter_in_eval():
    refiner = make().eval()
    torch.nn.init.normal_(refiner.output.weight)
    given_, features = inputs()
    both = refiner(**given_, features=features)
    one = refiner(**{k: v[:1] for k, v in given_.items()}, features=[f[:1] for f in features])
    # a sign that lies within rounding of zero may flip
    assert (both[:1] - one).abs().median() < 1e-5


@pytest.mark.parametrize("fine", [False, True])
def test_once_leaves_no_convolution_to_the_steps(fine):
    refiner = make(condition="once", fine=fine)
    given_, features = inputs()
    prepared = refiner.prepare(refiner.see(given_["image"], features))
    assert len(prepared) == (6 if fine else 4)
    called = []
    for block in refiner.condition_blocks:
        block.conv2.register_forward_hook(lambda *_: called.append(1))
    refiner.denoise(**given_, conditions=refiner.condition(prepared, given_["t"]))
    assert not called
