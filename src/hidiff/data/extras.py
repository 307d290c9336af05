"""Libraries of the optional extras: imported when a file of their kind is met."""

from importlib import import_module
from pathlib import Path
from types import ModuleType


def import_extra(module: str, extra: str, path: Path) -> ModuleType:
    """A module of an extra's library, which the file at `path` needs."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{path} needs {error.name}, which is not installed. Do so with: "
            f"pip install 'hidiff[{extra}]'"
        ) from None
