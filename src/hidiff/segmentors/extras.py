"""Libraries of the optional extras: imported when a segmentor of theirs is asked for."""

from importlib import import_module
from types import ModuleType


def import_extra(module: str, extra: str) -> ModuleType:
    """A module of an extra's library.

    Raises ValueError that tells how to install it, or what is wrong with what is installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{error.name} is not installed. Do so with: "
            f"pip install -c constraints.txt 'hidiff[{extra}]'"
        ) from error
    except (ImportError, RuntimeError) as error:  # torchvision built for another torch
        raise ValueError(
            f"{module} is installed, but does not import: {error}. Its torchvision may be of "
            "another torch: install both anew from one place, or see "
            "hidiff.segmentors.torchvision_operators."
        ) from error


def check_offline(name: str) -> None:
    """Refuse a model's name that timm would look up on a hub, such as hf-hub:owner/model."""
    if ":" in name:
        raise ValueError(
            f"{name} names a model of a hub, but nothing is downloaded here. Give the name of one "
            "of timm's architectures, and a file of weights as encoder_weights."
        )
