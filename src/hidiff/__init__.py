"""HiDiff: hybrid diffusion for medical image segmentation.

Nothing heavy is imported until one of the names below is used (PEP 562), so that
`import hidiff` and `hidiff --help` answer at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hidiff._version import __version__

if TYPE_CHECKING:
    from hidiff.experiment import Model, load, open_session, segment, train
    from hidiff.recipe import Recipe
    from hidiff.segmentors.hooks import wrap

__all__ = ["Model", "Recipe", "__version__", "load", "open_session", "segment", "train", "wrap"]

_HOME = {
    "Model": "hidiff.experiment",
    "Recipe": "hidiff.recipe",
    "load": "hidiff.experiment",
    "open_session": "hidiff.experiment",
    "segment": "hidiff.experiment",
    "train": "hidiff.experiment",
    "wrap": "hidiff.segmentors.hooks",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home the first time it is asked for."""
    if name not in _HOME:
        raise AttributeError(
            f"hidiff has no attribute {name!r}, only {', '.join(__all__)}. "
            f"For anything else import its module, such as hidiff.diffusion."
        )
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
