"""The convolutions that stay float, of every kernel against torch's layers and each other."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from hidiff import packed
from hidiff.packed.real import has_kernel

NAMES = packed.kernel_info()["available"].split(", ")
FUSED = [name for name in NAMES if name not in {"reference", "portable"}]


@pytest.fixture(params=NAMES, scope="module")
def engine(request):
    """Run a test with every kernel."""
    return packed.choose_engine(request.param)


def channels_last(*shape):
    return torch.randn(*shape).contiguous(memory_format=torch.channels_last)


def make_norm(channels, groups=1):
    norm = nn.GroupNorm(groups, channels)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def truth_of(layer, x, norm=None, added=0.0):
    return layer(x if norm is None else functional.silu(norm(x))) + added


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("channels", "out"), [(1, 1), (5, 16), (16, 1), (16, 16), (20, 3), (33, 17), (64, 40), (3, 4)]
)
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (18, 31)], ids=str)
@torch.no_grad()
def test_a_convolution_is_that_of_norm_silu_and_layer(engine, kernel, stride, channels, out, size):
    layer = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2)
    x, norm = 3 + channels_last(2, channels, *size), make_norm(channels)
    assert has_kernel(layer)
    assert_close(engine.convolve(layer, x), truth_of(layer, x), rtol=0, atol=1e-4)
    truth = truth_of(layer, x, norm)
    assert_close(engine.convolve(layer, x, norm=norm), truth, rtol=0, atol=1e-4)
    added = torch.randn_like(truth)
    found = engine.convolve(layer, x, norm=norm, added=added)
    assert_close(found, truth + added, rtol=0, atol=1e-4)
    assert found.is_contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def test_several_sources_are_channels_side_by_side(engine):
    layer = nn.Conv2d(6, 16, 3, padding=1)
    sources = [channels_last(2, 3, 9, 8), torch.randn(2, 2, 9, 8), torch.randn(4, 1, 9, 8)[::2]]
    truth = layer(torch.cat(sources, dim=1))
    assert_close(engine.convolve(layer, *sources), truth, rtol=0, atol=1e-5)
    norm = make_norm(6, groups=3)
    found = engine.convolve(layer, *sources, norm=norm)
    assert_close(found, truth_of(layer, torch.cat(sources, dim=1), norm), rtol=0, atol=1e-5)


@pytest.mark.parametrize("channels", [16, 24])
@pytest.mark.parametrize("shift", [0.0, 300.0])
@torch.no_grad()
def test_a_norm_is_exact_far_from_zero_and_over_many_pixels(engine, channels, shift):
    if shift and engine.name not in FUSED:
        pytest.skip("torch's own norm loses two digits there")
    layer, norm = nn.Conv2d(channels, 2, 1), make_norm(channels, groups=8)
    x = shift + channels_last(2, channels, 70, 61) * torch.linspace(0.1, 9, channels)[:, None, None]
    truth = truth_of(layer.double(), x.double(), norm.double()).float()
    found = engine.convolve(layer.float(), x, norm=norm.float())
    assert_close(found, truth, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("value", [-1e4, -88.0, -20.0, -1e-3, 0.0, 1e-3, 20.0, 88.0, 1e4])
@torch.no_grad()
def test_silu_is_exact_from_small_to_large_numbers(engine, value):
    layer, norm = nn.Conv2d(16, 16, 1, bias=False), nn.GroupNorm(1, 16)
    nn.init.dirac_(layer.weight)
    nn.init.zeros_(norm.weight)
    nn.init.constant_(norm.bias, value)
    found = engine.convolve(layer, channels_last(1, 16, 3, 3), norm=norm)
    assert_close(found, functional.silu(torch.full_like(found, value)), rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("name", FUSED)
@torch.no_grad()
def test_kernels_and_numbers_of_threads_round_alike(name):
    x, norm, added = channels_last(3, 24, 37, 29), make_norm(24), channels_last(3, 20, 37, 29)
    wide, narrow = nn.Conv2d(24, 20, 3, padding=1), nn.Conv2d(24, 2, 3, padding=1)
    threads = torch.get_num_threads()
    results = []
    for engine in (packed.choose_engine(FUSED[0]), packed.choose_engine(name)):
        for count in (1, 3):
            torch.set_num_threads(count)
            results.append(
                [
                    engine.convolve(wide, x, norm=norm, added=added),
                    engine.convolve(narrow, x, norm=norm),
                ]
            )
    torch.set_num_threads(threads)
    for found in results[1:]:
        for left, right in zip(results[0], found, strict=True):
            assert torch.equal(left, right)


@torch.no_grad()
def test_other_layers_are_left_to_torch(engine):
    x = channels_last(1, 4, 9, 9)
    for layer in (nn.Conv2d(4, 4, 3, dilation=2), nn.Conv2d(4, 4, 5), nn.Conv2d(4, 4, 3, groups=2)):
        assert not has_kernel(layer)
        assert_close(engine.convolve(layer, x), layer(x))


@torch.no_grad()
def test_the_output_lies_in_the_memory_that_was_given(engine):
    layer, out = nn.Conv2d(3, 16, 3, padding=1), channels_last(1, 16, 6, 6)
    found = engine.convolve(layer, channels_last(1, 3, 6, 6), out=out)
    if engine.name in FUSED:
        assert found is out


@pytest.mark.skipif(not FUSED, reason="no kernel runs here")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e, f: e.convolve(f, channels_last(1, 4, 6, 6).double()), "float64"),
        (lambda e, f: e.convolve(f, channels_last(1, 5, 6, 6)), "weights are"),
        (lambda e, f: e.convolve(f, *[channels_last(1, 1, 6, 6)] * 4), "4 sources"),
        (
            lambda e, f: e.convolve(f, channels_last(1, 2, 6, 6), channels_last(1, 2, 6, 5)),
            "several sizes",
        ),
        (
            lambda e, f: e.convolve(f, channels_last(1, 4, 6, 6), added=torch.randn(1, 8, 5, 6)),
            "output's size",
        ),
        (
            lambda e, f: e.convolve(f, channels_last(1, 4, 6, 6), norm=nn.GroupNorm(1, 5)),
            "weight and bias",
        ),
    ],
)
@torch.no_grad()
def test_what_does_not_fit_is_refused(call, message, monkeypatch):
    from jaxtyping import config

    monkeypatch.setattr(config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        call(packed.choose_engine(FUSED[0]), nn.Conv2d(4, 8, 3, padding=1))
