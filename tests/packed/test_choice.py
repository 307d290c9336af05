"""The choice of a kernel, its messages, and copies of what was chosen."""

import copy
import os
import pickle
import shutil
import sys
import types
import warnings

import pytest
import torch

from hidiff import packed
from hidiff.export import pack_refiner
from hidiff.packed import choice
from hidiff.packed.compiled import load_kernels
from hidiff.refiner import Refiner, RefinerSettings

AVAILABLE = packed.kernel_info()["available"].split(", ")
COMPILED = load_kernels()[0] is not None
needs_kernels = pytest.mark.skipif(not COMPILED, reason="the kernels are not compiled here")


@pytest.fixture
def uncompiled(monkeypatch):
    """Make the kernels absent, as after an install without a compiler."""
    monkeypatch.delenv("HIDIFF_KERNEL", raising=False)
    monkeypatch.setattr(choice, "load_kernels", lambda: (None, "the kernels were not compiled"))
    choice._warn_once.cache_clear()
    yield
    choice._warn_once.cache_clear()


@pytest.mark.skipif(
    not (os.environ.get("CI") and shutil.which("c++")),
    reason="only in CI, where HiDiff was just installed, and with a compiler",
)
def test_kernels_that_do_not_compile_are_not_taken_for_a_missing_compiler():
    assert load_kernels() == (load_kernels()[0], "")


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
        assert packed.choose_engine().name == name


@needs_kernels
def test_one_that_is_not_there_is_refused_with_those_that_are(monkeypatch):
    monkeypatch.setenv("HIDIFF_KERNEL", "sse9")
    with pytest.raises(ValueError, match=r"'sse9'.*no such kernel.*Choose one of .*portable"):
        packed.choose_engine()


@needs_kernels
def test_a_model_keeps_the_kernel_it_was_made_with(monkeypatch):
    monkeypatch.setenv("HIDIFF_KERNEL", "portable")
    refiner = tiny_refiner()
    monkeypatch.setenv("HIDIFF_KERNEL", "reference")
    engines = {module.engine for module in refiner.modules() if hasattr(module, "engine")}
    assert {engine.name for engine in engines} == {"portable"}
    assert len(engines) == 1


def test_without_kernels_the_reference_works_and_says_so_once(uncompiled):
    with pytest.warns(UserWarning, match="computed in floats.*Install a C\\+\\+ compiler"):
        engine = packed.choose_engine()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = packed.choose_engine()
    x = torch.randn(1, 40, 3, 3)
    assert torch.equal(engine.unpack(engine.pack(x), 40), torch.where(x >= 0, 1.0, -1.0))
    info = packed.kernel_info()
    assert info["kernel"] == engine.name == "reference"
    assert info["why"] == "the kernels were not compiled"


def test_without_kernels_none_can_be_forced(uncompiled, monkeypatch):
    monkeypatch.setenv("HIDIFF_KERNEL", "avx2")
    with pytest.raises(ValueError, match=r"'avx2'.*not compiled.*Choose one of reference"):
        packed.kernel_name()


def test_kernels_of_another_version_are_not_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "hidiff.packed._kernels", types.ModuleType("_kernels"))
    load_kernels.cache_clear()
    try:
        module, problem = load_kernels()
    finally:
        load_kernels.cache_clear()
    assert module is None
    assert "compiled for another version of HiDiff" in problem


@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_copy_of_an_engine_has_the_same_kernel(name, copied):
    engine = packed.choose_engine(name)
    again, x = copied(engine), torch.randn(2, 40, 3, 5)
    assert again.name == name
    assert torch.equal(again.pack(x), engine.pack(x))


@pytest.mark.parametrize("name", AVAILABLE)
@torch.no_grad()
def test_a_copy_of_a_model_computes_the_same(name, monkeypatch):
    monkeypatch.setenv("HIDIFF_KERNEL", name)
    refiner, t = tiny_refiner(), torch.ones(1, dtype=torch.int64)
    image, prior = torch.randn(1, 3, 64, 64), torch.rand(1, 1, 64, 64)

    def run(refiner):
        conditions = refiner.condition(refiner.prepare(refiner.see(image, ())), t)
        return refiner.denoise(image, prior.round(), prior, t, conditions)

    with torch.inference_mode():
        inferred = run(refiner)
    truth = run(refiner)
    assert torch.equal(truth, inferred)
    assert torch.equal(truth, run(copy.deepcopy(refiner)))


def tiny_refiner():
    return pack_refiner(Refiner(3, 1, (), RefinerSettings(width=8)).eval(), [1])
