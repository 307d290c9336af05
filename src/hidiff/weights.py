"""Files of tensors: safetensors, foreign checkpoints without unpickling, atomic writing."""

import _codecs
import contextlib
import errno
import glob
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

# What a single number of NumPy's is made of in a checkpoint (nnU-Net's hold scores): its maker, its
# type, and the text that bytes are written as. None of them runs what a file says; arrays of
# Python objects need more, and stay refused.
_SCALAR = np.float64(0).__reduce__()[0]
NUMPY_NUMBERS = [
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (_SCALAR, "numpy.core.multiarray.scalar"),  # as NumPy 1 wrote it
    np.dtype,
    *{type(np.dtype(code)) for code in "?bBhHiIlLqQefd"},
    _codecs.encode,
]
TIED = "tied"  # in a file's metadata: JSON, the names that are written under another one


@contextlib.contextmanager
def atomic_write(path: str | Path, former: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path, which is renamed to `path` if the block ends well.

    A reader sees the old file or the new one, never half of one; on an error nothing stays. What
    lay at `path` before is kept at `former`, if that is given. The temporary path lies in a hidden
    folder of its own beside `path`, for there are writers (safetensors) that make more files.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        temporary = Path(folder) / path.name
        temporary.touch()
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        # some writers make their files private; give the mode that open() would have given
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        if former is not None and path.exists():
            path.replace(former)
        temporary.replace(path)


def remove_unfinished(path: Path) -> None:
    """Remove what processes that were killed while they wrote `path` have left beside it."""
    for folder in path.parent.glob(f".{glob.escape(path.name)}.????????"):
        shutil.rmtree(folder, ignore_errors=True)


def save(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    former: Path | None = None,
) -> None:
    """Write tensors and a few words about them as one safetensors file, whole or not at all.

    A tensor of several names (tied weights) is written once. `former` is where the file that it
    replaces is kept, if anywhere.
    """
    tied = _tied(tensors)
    # copies, as safetensors refuses tensors that share memory
    dense = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
        if name not in tied
    }
    words = {**metadata, TIED: json.dumps(tied)} if tied else dict(metadata)
    with atomic_write(path, former) as temporary:
        try:
            save_file(dense, temporary, metadata=words)
        except SafetensorError as error:
            # of what the system says it keeps only words: "No space left on device (os error 28)"
            found = re.search(r"\(os error (\d+)\)", str(error))
            number = int(found[1]) if found else errno.EIO
            raise OSError(number, os.strerror(number), str(path)) from error


def _tied(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the names of tensors that share another tensor's data, with the name that is kept."""
    first: dict[tuple, str] = {}
    tied = {}
    for name, tensor in tensors.items():
        where = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() and first.setdefault(where, name) != name:
            tied[name] = first[where]
    return tied


def load(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file: tensors on the CPU, and the metadata.

    Raises ValueError, naming the file, for one that is missing, truncated or of another format.
    """
    with _opened(Path(path)) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
        metadata = dict(file.metadata() or {})
    tied = json.loads(metadata.pop(TIED, "{}"))
    again = {name: tensors[first] for name, first in tied.items() if first in tensors}
    return tensors | again, metadata


def load_metadata(path: str | Path) -> dict[str, str]:
    """Return the metadata of a safetensors file, from its header alone; raises as `load` does."""
    with _opened(Path(path)) as file:
        return dict(file.metadata() or {})


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    """Open a file.

    The header is checked against the file's length, so a file cut short does not open.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not a file. Give the path of a .safetensors checkpoint.")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} does not read as safetensors ({error}). It may be cut short or of another "
            "format: copy it again, or take an earlier checkpoint."
        ) from error


def load_foreign(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of somebody else's checkpoint: .safetensors, or .pt/.pth without unpickling.

    A `state_dict`, `model` or `network_weights` entry is opened. Raises ValueError for what holds
    more than tensors and plain values, NumPy's single numbers among them.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return load(path)[0]
    if not path.is_file():
        raise ValueError(f"{path} is not a file. Give the path of a checkpoint (.pt, .pth).")
    try:
        with torch.serialization.safe_globals(NUMPY_NUMBERS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a different type for each way a file can be wrong
        raise ValueError(
            f"{path} does not read as a checkpoint of plain tensors ({type(error).__name__}). "
            "Files that need unpickling are refused, as they can run code: save its state_dict() "
            "as safetensors where it was made."
        ) from error
    for key in ("state_dict", "model", "network_weights"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{path} holds a {type(content).__name__}, but a state dict (name -> tensor) is wanted."
        )
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
