"""Which kernel is used, and what is said where one cannot be."""

import os
import shutil
import warnings

import pytest
import torch

from hidiff import packed
from hidiff.packed import choice

COMPILED = choice.compiled()[0] is not None
needs_kernels = pytest.mark.skipif(not COMPILED, reason="the kernels are not compiled here")


@pytest.fixture
def uncompiled(monkeypatch):
    """As after an install without a compiler."""
    monkeypatch.delenv("HIDIFF_KERNEL", raising=False)
    monkeypatch.setattr(choice, "compiled", lambda: (None, "the kernels were not compiled"))
    choice._warn_once.cache_clear()
    yield
    choice._warn_once.cache_clear()


@pytest.mark.skipif(
    not (os.environ.get("CI") and shutil.which("c++")),
    reason="only in CI, where HiDiff was just installed, and with a compiler",
)
def test_kernels_that_do_not_compile_are_not_taken_for_a_missing_compiler():
    assert choice.compiled() == (choice.compiled()[0], "")


@needs_kernels
def test_the_fastest_that_runs_here_is_taken(monkeypatch):
    monkeypatch.delenv("HIDIFF_KERNEL", raising=False)
    info = packed.kernel_info()
    assert info["kernel"] == info["available"].split(", ")[0] != "reference"
    assert "why" not in info


@needs_kernels
@pytest.mark.parametrize("name", ["portable", "reference"])
def test_the_variable_forces_one_without_a_warning(name, monkeypatch):
    monkeypatch.setenv("HIDIFF_KERNEL", name)
    assert packed.kernel_info()["kernel"] == packed.kernel_name() == name
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        packed.pack(torch.randn(1, 4, 2, 2))


@needs_kernels
def test_one_that_is_not_there_is_refused_with_those_that_are(monkeypatch):
    monkeypatch.setenv("HIDIFF_KERNEL", "sse9")
    with pytest.raises(ValueError, match=r"'sse9'.*no such kernel.*Choose one of .*portable"):
        packed.pack(torch.randn(1, 4, 2, 2))


def test_without_kernels_the_reference_works_and_says_so_once(uncompiled):
    x = torch.randn(1, 40, 3, 3)
    with pytest.warns(UserWarning, match="computed in floats.*Install a C\\+\\+ compiler"):
        bits = packed.pack(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(packed.unpack(bits, 40), torch.where(x >= 0, 1.0, -1.0))
    info = packed.kernel_info()
    assert info["kernel"] == "reference"
    assert info["why"] == "the kernels were not compiled"


def test_without_kernels_none_can_be_forced(uncompiled, monkeypatch):
    monkeypatch.setenv("HIDIFF_KERNEL", "avx2")
    with pytest.raises(ValueError, match=r"'avx2'.*not compiled.*Choose one of reference"):
        packed.kernel_name()


def layer(channels=40, out=8):
    return packed.pack(torch.randn(1, channels, 6, 6)), packed.pack_weight(
        torch.randn(out, channels, 3, 3)
    )


def block(shortcut):
    bits, weight = layer()
    epilogue = packed.Epilogue(*torch.randn(4, 8), torch.randn(1, 8))
    return packed.conv_block(bits, weight, epilogue, shortcut)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: packed.conv(layer(40)[0], layer(70)[1]), "70 channels want 3"),
        (lambda: packed.conv(*layer(), stride=3), "stride is 3"),
        (lambda: packed.conv(*layer(4000), dtype=torch.int16), "up to 36000 do not fit"),
        (lambda: packed.pack(torch.randn(1, 4, 2, 2).double()), r"pass x\.float\(\)"),
        (lambda: block([torch.randn(1, 5, 6, 6)]), "one must be a multiple"),
        (lambda: block([torch.randn(1, 8, 5, 6)]), "one twice the other"),
        (lambda: block([]), "0 shortcuts"),
        (lambda: packed.attention(*[layer()[0][:, 0]] * 3, 40, 3), "3 heads"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
