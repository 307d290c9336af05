"""The sessions of a server: whose they are, how long they live, and their private folders."""

import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hidiff.serve.opened import Opened
from hidiff.serve.private import PrivateFolder
from hidiff.serve.refusal import Refusal, one_line

log = logging.getLogger("hidiff.serve")

OPENING, READY, FAILED = "opening", "ready", "failed"


@dataclass(eq=False)
class Entry:
    """A session of the server, from the arrival of its files to its end."""

    id: str
    owner: str
    folder: Path
    """private, deleted with the session"""
    model: str
    name: str = ""
    case: str | None = None
    """id of the image in the folder that the server was started with"""
    state: str = OPENING
    step: str = "Waiting"
    progress: float | None = None
    error: str | None = None
    opened: Opened | None = None
    used: float = field(default_factory=time.monotonic)
    tab: str | None = None
    """the browser tab that may change it; None: whoever comes next"""
    near: int = 0
    """the slice that was looked at last: its neighbours are segmented first"""
    lock: threading.RLock = field(default_factory=threading.RLock)
    changed: threading.Condition = field(default_factory=threading.Condition)
    closed: bool = False
    requests: int = 0
    """requests that hold the lock or wait for it"""

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the lock for a request. Work in the background leaves it to requests."""
        with self.changed:
            self.requests += 1
        try:
            with self.lock:
                yield
        finally:
            with self.changed:
                self.requests -= 1
                self.changed.notify_all()

    @contextmanager
    def idle_turn(self) -> Iterator[None]:
        """Hold the lock for work in the background, once no request wants it."""
        with self.changed:
            self.changed.wait_for(lambda: self.requests == 0)
        with self.lock:
            yield

    def put(self, **changes: object) -> None:
        """Change what is said of it, and wake those who wait for news."""
        with self.changed:
            for name, value in changes.items():
                setattr(self, name, value)
            self.changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Wait until it has left the state of opening, or for so long."""
        with self.changed:
            self.changed.wait_for(lambda: self.state != OPENING, seconds)

    def ready(self) -> Opened:
        """Return the session. Raises Refusal if it is opening, closed or failed."""
        if self.closed:
            raise Refusal(404, "there is no such session: it is closed.")
        if self.state == FAILED:
            raise Refusal(409, f"the image was not opened: {self.error}")
        if self.opened is None:
            raise Refusal(409, "the image is still being opened. Ask again in a moment.")
        return self.opened

    def check_tab(self, tab: str | None) -> None:
        """Raise Refusal if another browser tab holds the session."""
        if tab is None:
            return
        if self.tab not in (None, tab):
            raise Refusal(
                409,
                "this image is open in another tab, which is changing it. Go on here, and the "
                "other tab will ask before it changes anything.",
            )
        self.tab = tab


class Store:
    """All sessions, by their ids, which nobody guesses."""

    def __init__(self, max_sessions: int, idle_minutes: float):
        self.max_sessions = max_sessions
        self.idle_seconds = idle_minutes * 60
        self.private = PrivateFolder()
        self.root = self.private.path
        self._entries: dict[str, Entry] = {}
        self._lock = threading.Lock()

    def add(self, owner: str, model: str) -> Entry:
        """Make room for a session. Raises Refusal if there is none."""
        self.sweep()
        with self._lock:
            if len(self._entries) >= self.max_sessions:
                raise Refusal(
                    503, f"{self.max_sessions} images are open, which is the most. Close one first."
                )
            key = secrets.token_urlsafe(18)
            folder = self.root / secrets.token_hex(8)
            folder.mkdir(mode=0o700)
            entry = Entry(key, owner, folder, model)
            self._entries[key] = entry
        return entry

    def get(self, owner: str, key: str) -> Entry:
        """Return a session of this owner; another's is as unknown as one that never was."""
        with self._lock:
            entry = self._entries.get(key)
        if entry is None or not secrets.compare_digest(entry.owner, owner):
            raise Refusal(404, "there is no such session: it was closed, or expired unused.")
        entry.used = time.monotonic()
        return entry

    def of(self, owner: str) -> list[Entry]:
        """Return all sessions of an owner."""
        with self._lock:
            return [entry for entry in self._entries.values() if entry.owner == owner]

    def fill(self, entry: Entry, make: Callable[[Entry], Opened]) -> None:
        """Open the image of a session; what goes wrong is said in its state."""
        try:
            with entry.lock:
                opened = make(entry)
            entry.put(opened=opened, state=READY, step="Ready", progress=1.0)
        except (ValueError, OSError, Refusal) as error:
            entry.put(state=FAILED, error=one_line(error, entry.folder))
        except MemoryError:
            entry.put(state=FAILED, error="the memory is full. Open a smaller image.")
        except Exception as error:
            log.error("opening failed: %s", describe(error))
            entry.put(state=FAILED, error=f"an error of the server ({type(error).__name__}).")
        if entry.closed:
            entry.opened = None

    def close(self, entry: Entry) -> None:
        """Forget a session and delete its files."""
        with self._lock:
            self._entries.pop(entry.id, None)
        entry.put(closed=True, opened=None)
        shutil.rmtree(entry.folder, ignore_errors=True)

    def sweep(self) -> None:
        """Close sessions that nobody used for too long."""
        before = time.monotonic() - self.idle_seconds
        with self._lock:
            idle = [entry for entry in self._entries.values() if entry.used < before]
        for entry in idle:
            if entry.state != OPENING:
                self.close(entry)

    def end(self) -> None:
        """Close all sessions, and delete every file of the server."""
        with self._lock:
            entries = list(self._entries.values())
        for entry in entries:
            self.close(entry)
        self.private.remove()


def describe(error: BaseException) -> str:
    """Return the kind and the place of an error, without its message: it may name a patient."""
    place, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if "hidiff" in code.co_filename or not place:
            place = f"{Path(code.co_filename).name}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next
    return f"{type(error).__name__} at {place}"
