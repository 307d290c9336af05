"""SIGTERM during training: finish the step, write a checkpoint, end the run.

Schedulers of clusters send it, and `docker stop`, some seconds before they kill.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TrainingStopped(RuntimeError):
    """A run was told to end by SIGTERM, and has written a checkpoint."""


class _StopNow(BaseException):
    """Leaves work that would take too long to finish; never seen outside this module."""


class StopSignal:
    """Notes SIGTERM while its block runs. Only the main thread can; elsewhere it never comes."""

    def __init__(self) -> None:
        self.asked = False
        """whether SIGTERM came"""
        self._may_leave = False
        self._former: signal.Handlers | object = None

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            self._former = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        if self._former is not None:
            signal.signal(signal.SIGTERM, self._former)  # pyright: ignore[reportArgumentType]
            self._former = None

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """Leave the block at once when SIGTERM comes, or has come: its work can be done again."""
        try:
            self._may_leave = True
            if self.asked:
                raise _StopNow
            yield
        except _StopNow:
            pass
        finally:
            self._may_leave = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if self._may_leave:
            self._may_leave = False
            raise _StopNow
