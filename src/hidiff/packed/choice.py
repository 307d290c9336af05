"""Choose the engine: a kernel compiled for this processor, or the reference.

HIDIFF_KERNEL=avx2 (or any other name in `kernel_info()["available"]`) forces one.
"""

import os
import warnings
from functools import cache

from hidiff.packed.compiled import CompiledEngine, load_kernels
from hidiff.packed.engine import Engine
from hidiff.packed.reference import REFERENCE, ReferenceEngine

VARIABLE = "HIDIFF_KERNEL"


def choose_engine(name: str | None = None) -> Engine:
    """Return the engine of the kernel `name`, by default of `kernel_name()`.

    Warns the first time if the reference stands in for kernels that were not compiled.
    """
    module, problem = load_kernels()
    if module is None:
        _warn_once(problem)
    name = name or kernel_name()
    return ReferenceEngine() if name == REFERENCE else CompiledEngine(name)


def kernel_info() -> dict[str, str]:
    """Return facts about the kernel in use.

    `kernel` is its name and `how` the way it counts bits. `available` lists all kernels that run
    here. `why` is there for the reference alone, and gives the reason for its use.
    """
    module, problem = load_kernels()
    supported = module.supported() if module else {}
    name = kernel_name()
    info = {"kernel": name, "available": ", ".join([*supported, REFERENCE])}
    if name == REFERENCE:
        info["how"] = "1-bit layers are computed in floats"
        info["why"] = problem or f"{VARIABLE}={REFERENCE}"
    else:
        info["how"] = supported[name]
    return info


def kernel_name() -> str:
    """Return $HIDIFF_KERNEL, or the fastest kernel that this processor can run.

    Raises ValueError if $HIDIFF_KERNEL cannot run here.
    """
    module, problem = load_kernels()
    supported = list(module.supported()) if module else []
    name = os.environ.get(VARIABLE)
    if not name:
        return supported[0] if supported else REFERENCE
    if name not in [*supported, REFERENCE]:
        reason = problem or "this build has no such kernel"
        if module and name in module.built():
            reason = "this processor cannot run it"
        raise ValueError(
            f"{VARIABLE} is {name!r}, but {reason}. "
            f"Choose one of {', '.join([*supported, REFERENCE])}, or unset it."
        )
    return name


@cache
def _warn_once(problem: str) -> None:
    warnings.warn(
        f"1-bit layers are computed in floats, many times slower: {problem}. Install a C++ "
        "compiler, then HiDiff once more.",
        stacklevel=3,
    )
