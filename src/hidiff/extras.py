"""Libraries of the optional extras, imported when they are needed."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

CONSTRAINTS = "constraints.txt"


class MissingExtra(ImportError, ValueError):
    """A library of an optional extra is missing or broken; the message says how to install it."""


def install_command(extra: str) -> str:
    """Return the command that installs an extra, in a clone and out of one."""
    return f"pip install -c {_constraints()} 'hidiff[{extra}]'"


def _constraints() -> str:
    """Return where the constraints lie, which keep torch's build: in the package, or the clone."""
    packaged = Path(__file__).with_name(CONSTRAINTS)
    return str(packaged) if packaged.is_file() else CONSTRAINTS


def import_extra(module: str, extra: str, needed_by: object = None) -> ModuleType:
    """Return a module of an extra's library; `needed_by` is the file that needs it, if one does.

    Raises MissingExtra with the command that installs it, or with what is wrong with the installed
    one.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        needs = "" if needed_by is None else f"{needed_by} needs {error.name}. "
        raise MissingExtra(
            f"{needs}{error.name} is not installed. Install it with: {install_command(extra)}"
        ) from error
    except (ImportError, RuntimeError) as error:  # torchvision built for another torch
        raise MissingExtra(
            f"{module} is installed, but does not import: {error}. Its torchvision may be built "
            "for another torch: install both again from one source, or see "
            "hidiff.segmentors.torchvision_operators."
        ) from error
