"""The private folder of a server, deleted at its end, or by the next server if it was killed."""

import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "hidiff-serve-"
LOCK = "lock"
NEW_SECONDS = 60.0  # a younger folder may be that of a server which is only just starting


class PrivateFolder:
    """A folder that nobody else reads (mode 0700), locked while its server lives."""

    def __init__(self) -> None:
        self._root = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = FileLock(self._root / LOCK)
        self._lock.acquire()
        self.path = self._root / "sessions"
        self.path.mkdir(mode=0o700)

    def remove(self) -> None:
        """Delete it with all that it holds."""
        self._lock.release()
        shutil.rmtree(self._root, ignore_errors=True)

    def remove_left_behind(self) -> None:
        """Delete the folders of this user's servers that were killed: images may lie in them."""
        owner = self._root.lstat().st_uid
        for folder in self._root.parent.glob(f"{PREFIX}*"):
            if folder != self._root and _is_old_folder_of(owner, folder):
                _remove_if_unlocked(folder)


def _is_old_folder_of(owner: int, folder: Path) -> bool:
    try:
        facts = os.lstat(folder)
    except OSError:  # its own server has deleted it just now
        return False
    is_own = stat.S_ISDIR(facts.st_mode) and facts.st_uid == owner
    return is_own and time.time() - facts.st_mtime > NEW_SECONDS


def _remove_if_unlocked(folder: Path) -> None:
    try:
        with FileLock(folder / LOCK, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
    except (Timeout, OSError):
        return  # its server lives, or has deleted it just now
