"""A Ray cluster of one's own: connect to it, and check that a node sees the same files.

Ray sends Python objects between its processes and unpickles them, so whoever can reach a cluster
can run code on all of its machines. Connect only to your own, on a network of your own.
"""

import hashlib
import os
import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hidiff._version import __version__
from hidiff.extras import import_extra
from hidiff.models import find_model

AUTO = "auto"
SECONDS_TO_CONNECT = 5.0


class ClusterError(ValueError):
    """A cluster, or a node of it, cannot be used; the message says why, and what to do."""


def connect(address: str) -> Any:
    """Connect to a running cluster, `auto` or HOST:PORT, and return the module ray.

    `auto` is the cluster that runs on this machine, or that RAY_ADDRESS names. Raises MissingExtra
    without Ray, and ClusterError for a cluster that does not answer or runs another version.
    """
    ray = import_extra("ray", "ray")
    if address != AUTO:
        _check_answers(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="CRITICAL")
    except ConnectionError:
        raise ClusterError(
            f"no Ray cluster runs here (--ray {address}). Start one with: ray start --head; and on "
            "each other machine: ray start --address HOST:6379. Or give the HOST:PORT of one."
        ) from None  # Ray's own text is about arguments of ray.init
    except RuntimeError as error:
        text = " ".join(str(error).split())
        raise ClusterError(f"the Ray cluster at {address} cannot be used: {text}") from error
    return ray


def _check_answers(address: str) -> None:
    """Raise ClusterError unless something listens there: Ray itself would try for a minute."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise ClusterError(
            f"--ray {address} is no address. Give {AUTO} or HOST:PORT, such as 10.0.0.1:6379, and "
            "run the command on a machine of the cluster (ray:// is not for this)."
        )
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"nothing answers at {address} (--ray): {error}. Start Ray there with ray start --head "
            "--port 6379, and check the address and the firewall."
        ) from error


@dataclass(frozen=True)
class Files:
    """Files and folders that every node must see as this machine does."""

    models: tuple[tuple[Path | str, str], ...] = ()
    """paths or names of checkpoints, and the SHA-256 of each file"""
    shared: tuple[tuple[Path, str], ...] = ()
    """folders that results are written to, and the name of a file that lies there for this run"""
    version: str = __version__
    """version of HiDiff"""

    def problem(self) -> str:
        """Return what is wrong on this machine, for a sentence; empty if nothing is."""
        if self.version != __version__:
            return f"has HiDiff {__version__}, not {self.version}: install the same on all nodes"
        for folder, token in self.shared:
            if not (folder / token).is_file():
                return (
                    f"does not share the folder {folder}: put it on a disk that all nodes mount at "
                    "that path"
                )
            if not os.access(folder, os.W_OK):
                return f"may not write to {folder}: give this user the right to, there too"
        for model, sha256 in self.models:
            try:
                file = find_model(model)
            except ValueError:
                return f"does not have the model {model}: copy it there, or put it on a shared disk"
            if file_hash(file) != sha256:
                return f"has another model at {model}: copy this machine's there"
        return ""


@contextmanager
def shared_files(models: Sequence[Path | str], folders: Sequence[Path]) -> Iterator[Files]:
    """Mark folders for the block, so that a node can tell whether it sees the same ones.

    Raises OSError for a folder that cannot be written to.
    """
    token = f".{uuid.uuid4().hex}.shared"
    marks = [folder.resolve() / token for folder in folders]
    try:
        for mark in marks:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
        yield Files(
            tuple((model, file_hash(find_model(model))) for model in models),
            tuple((mark.parent, token) for mark in marks),
        )
    finally:
        for mark in marks:
            mark.unlink(missing_ok=True)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
