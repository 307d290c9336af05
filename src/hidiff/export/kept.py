"""Exports of segmentors kept on the disk, so that a model is exported once and not at each load."""

import contextlib
import glob
import hashlib
import os
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from hidiff._version import __version__
from hidiff.loading.cache import cache_folder
from hidiff.weights import atomic_write

PACKAGE = Path(__file__).resolve().parents[1]

# What an export depends on beside HiDiff and the weights: other networks and the exporter.
CODE = ("torch", "onnxscript", "monai", "timm", "transformers", "segmentation-models-pytorch")


class KeptExport:
    """The export of one segmentor for images of one size, in a file beside the model.

    Where that folder takes no files, or is part of the package, it lies in the user's folder for
    caches. The file's name holds a key of the weights and of all versions, so that another model
    under the same name never finds it; a new export removes the former one of its size.
    """

    def __init__(self, model: Path, segmentor: Any, size: tuple[int, int]):
        folder = model.parent
        inside = PACKAGE in model.resolve().parents
        if inside or not os.access(folder, os.W_OK):
            folder = cache_folder() / "segmentors"
        self.beginning = f"{model.stem}_segmentor_{size[0]}x{size[1]}_"
        self.path = folder / f"{self.beginning}{_key(segmentor, size)}.onnx"

    def read(self) -> bytes | None:
        """Return the export, or None if there is none that can be read."""
        try:
            return self.path.read_bytes()
        except OSError:
            return None

    def write(self, model: bytes) -> None:
        """Keep an export; a folder that takes none is told in a warning."""
        try:
            with atomic_write(self.path) as temporary:
                temporary.write_bytes(model)
        except OSError as error:
            warnings.warn(
                f"{self.path} was not written ({error}), so the segmentor is exported at each "
                "load. Make room there.",
                stacklevel=2,
            )
            return
        for former in self.path.parent.glob(f"{glob.escape(self.beginning)}*.onnx"):
            if former != self.path:
                with contextlib.suppress(OSError):  # another process was quicker
                    former.unlink()


def _key(segmentor: torch.nn.Module, size: tuple[int, int]) -> str:
    """Return a key that changes with the weights, the networks' code and the exporter."""
    digest = hashlib.blake2b(repr((type(segmentor).__name__, size, _versions())).encode())
    for name, tensor in sorted(segmentor.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _versions() -> dict[str, str]:
    """Return the versions of the packages in CODE that are installed."""
    found = {"hidiff": __version__}
    for package in CODE:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
