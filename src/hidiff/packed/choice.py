"""Which kernel does the work: compiled for this processor, or the reference.

HIDIFF_KERNEL=avx2 (or any other name in `kernel_info()["available"]`) forces one.
"""

import os
import warnings
from functools import cache
from importlib import import_module
from typing import Any

VARIABLE = "HIDIFF_KERNEL"
REFERENCE = "reference"


def kernel_info() -> dict[str, str]:
    """`kernel` in use, `how` it counts, those `available`; `why`, where it is the reference."""
    module, problem = compiled()
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
    """The kernel in use: $HIDIFF_KERNEL, else the fastest that this processor can run."""
    module, problem = compiled()
    supported = list(module.supported()) if module else []
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return supported[0] if supported else REFERENCE
    if wanted not in [*supported, REFERENCE]:
        reason = problem or "this build has no such kernel"
        if module and wanted in module.built():
            reason = "this processor cannot run it"
        raise ValueError(
            f"{VARIABLE} is {wanted!r}, but {reason}. "
            f"Choose one of {', '.join([*supported, REFERENCE])}, or unset it."
        )
    return wanted


def kernel_at_work() -> str:
    """As `kernel_name`, and a warning the first time if the reference stands in for a kernel."""
    if compiled()[0] is None:
        _warn_once()
    return kernel_name()


@cache
def compiled() -> tuple[Any, str]:
    """The compiled module, or None and why there is none."""
    try:
        return import_module("hidiff.packed._kernels"), ""
    except ImportError as error:
        return None, f"the kernels were not compiled when HiDiff was installed ({error})"


@cache
def _warn_once() -> None:
    warnings.warn(
        f"1-bit layers are computed in floats, many times slower: {compiled()[1]}. Install a C++ "
        "compiler, then HiDiff once more.",
        stacklevel=4,
    )
