"""SIGTERM as an exception, so that a command that is told to end leaves nothing half done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

TERMINATED = 143  # exit code, as shells have it for SIGTERM
INTERRUPTED = 130  # exit code, as shells have it for Ctrl-C


class Terminated(BaseException):
    """SIGTERM came. No Exception, so that what reports the failure of one case lets it pass."""


@contextmanager
def terminate_by_exception() -> Iterator[None]:
    """Raise Terminated in the block when SIGTERM comes; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: let it clean up
        raise Terminated

    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
