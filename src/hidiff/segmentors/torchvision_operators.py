"""For a torchvision without its compiled operators: declares them, so that it imports.

A torchvision made for CUDA finds no CUDA libraries beside a torch for CPU, loads no operators, and
then fails at import ("operator torchvision::nms does not exist"); timm and
segmentation-models-pytorch fail with it. Neither calls those operators, so to declare them is
enough. HiDiff never does so by itself. Call it before torchvision is imported for the first time,
as the tests of those extras do:

    from hidiff.segmentors.torchvision_operators import declare_torchvision_operators

    declare_torchvision_operators()

The better remedy, where you can: a torchvision and a torch from the same index.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch

# Those that torchvision 0.28 describes at import whether it has them or not.
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


@cache
def declare_torchvision_operators() -> torch.library.Library | None:
    """Declare what the installed torchvision lacks; None if it lacks nothing, or is not there."""
    found = find_spec("torchvision")
    if found is None or found.origin is None or _loads(Path(found.origin).parent):
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in SCHEMAS:
        library.define(schema)
    return library  # the declarations last as long as this object, which the cache keeps


def _loads(folder: Path) -> bool:
    """Return True if the compiled operators load with this torch."""
    for path in [*folder.glob("_C*.so"), *folder.glob("_C*.pyd")]:
        try:
            torch.ops.load_library(path)
        except OSError:
            continue
        return True
    return False
