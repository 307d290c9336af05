"""Lock files that let several `predict` runs share the cases of one output folder.

A lock is a small hidden file, which is created or not in one step (O_EXCL), and names the process
that holds it. Locks of a process that has died on this machine are recognised and taken over at
once; those of another machine when its run has given no sign of life for ten minutes.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

SCRATCH = ".scratch."  # in the name of a case's hidden scratch folder: .CASE.scratch.????????
# What an unfinished write leaves, named by weights.atomic_write, or a scratch folder.
LEFTOVER = re.compile(r"\.(.+)\.(png|tiff|npz|nii\.gz|dcm|scratch)\.[a-z0-9_]{8}")
SIGN_OF_LIFE = 60.0  # seconds between two of them: a run touches its lock
SILENCE = 600.0  # seconds without one, after which a run of another machine is taken for dead
UNWRITTEN = 60.0  # seconds after which a lock that names no process is taken for a leftover


class Claims:
    """The cases of a folder that this process works on, as other processes see them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._run = folder / _run_lock(socket.gethostname(), os.getpid())
        self._held: set[Path] = set()
        self._ended = threading.Event()
        self._signs = threading.Thread(target=self._give_signs, name="signs of life", daemon=True)

    def __enter__(self) -> "Claims":
        self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder)
        _create(self._run)
        self._signs.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._signs.join()
        for lock in (*self._held, self._run):
            lock.unlink(missing_ok=True)

    def _give_signs(self) -> None:
        while not self._ended.wait(SIGN_OF_LIFE):
            with contextlib.suppress(OSError):
                os.utime(self._run)

    @contextlib.contextmanager
    def claim(self, stem: str) -> Iterator[bool]:
        """Hold the lock of a case for the block; False if another process holds it.

        Several threads may hold cases at once.
        """
        lock = self.folder / f".{stem}.case.lock"
        held = _create(lock)
        if held:
            self._held.add(lock)
        try:
            yield held
        finally:
            if held:
                lock.unlink(missing_ok=True)
                self._held.discard(lock)


def others_at_work(folder: Path) -> bool:
    """Return whether another process is predicting into a folder right now."""
    locks = folder.glob(".*.run.lock") if folder.is_dir() else ()
    return any(not _is_stale(lock) for lock in locks)


def sweep(folder: Path) -> None:
    """Remove what processes that were killed have left in a folder: locks, and unfinished files."""
    hidden = [path for path in folder.iterdir() if path.name.startswith(".")]
    unfinished = [path for path in hidden if LEFTOVER.fullmatch(path.name) and path.is_dir()]
    with _alone(folder):
        locks = [path for path in folder.iterdir() if re.fullmatch(r"\..+\.lock", path.name)]
        live = [lock for lock in locks if not _is_stale(lock)]
        for lock in locks:
            if lock not in live:
                lock.unlink(missing_ok=True)
    stems = tuple(lock.name.removesuffix(".case.lock") for lock in live)
    for path in unfinished:
        if not (stems and path.name.startswith(stems)):
            shutil.rmtree(path, ignore_errors=True)


def _create(lock: Path) -> bool:
    """Create a lock, in the place of a stale one too; return False if a process holds it."""
    if _create_new(lock):
        return True
    if not _is_stale(lock):
        return False
    with _alone(lock.parent):  # else two processes might both replace the stale lock
        if _is_stale(lock):
            lock.unlink(missing_ok=True)
        return _create_new(lock)


def _create_new(lock: Path) -> bool:
    try:
        number = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with open(number, "w", encoding="utf-8") as file:
        json.dump(_this_process(), file)
    return True


def _this_process() -> dict[str, Any]:
    started = psutil.Process().create_time()
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": started}


def _is_stale(lock: Path) -> bool:
    """Return whether the process of a lock has died, as far as that can be known from here."""
    try:
        holder = json.loads(lock.read_text(encoding="utf-8"))
        host, pid, started = holder["host"], int(holder["pid"]), float(holder["started"])
    except FileNotFoundError:
        return False  # it was given back just now
    except (OSError, ValueError, KeyError, TypeError):
        with contextlib.suppress(OSError):
            return time.time() - lock.stat().st_mtime > UNWRITTEN
        return False
    if host != socket.gethostname():
        return _is_silent(lock.parent / _run_lock(host, pid))
    try:
        process = psutil.Process(pid)
        # a number is used again; the time of its start tells two processes apart
        dead = process.status() == psutil.STATUS_ZOMBIE
        return dead or abs(process.create_time() - started) > 1
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def _run_lock(host: str, pid: int) -> str:
    """Return the name of the lock that a run has in its output folder."""
    return f".{host}-{pid}.run.lock"


def _is_silent(run: Path) -> bool:
    """Return whether a run on another machine has given no sign of life for too long.

    If the run itself cannot be found, its lock counts as alive. Both times come from the disk,
    because the clocks of two machines may differ.
    """
    with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=run.parent) as now:
        return os.fstat(now.fileno()).st_mtime - run.stat().st_mtime > SILENCE
    return False


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time remove stale locks, where the system has locks for folders."""
    try:
        import fcntl
    except ImportError:  # Windows has none; two processes there must not start at the same moment
        yield
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network folders have none either
            fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)
