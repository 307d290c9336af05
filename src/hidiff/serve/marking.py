"""The corrections of all sessions, one after another in one thread."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

Result = TypeVar("Result")


class MarkQueue:
    """Runs short corrections in the order in which they come.

    Each may use every core. Side by side they would wait for each other's threads, and each thread
    of the server that ever ran the networks would keep threads and memory for the next time.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="marks")

    def run(self, task: Callable[[], Result]) -> Result:
        """Return what the task returns, or raise what it raises, once those before it are done."""
        return self._pool.submit(copy_context().run, task).result()

    def end(self) -> None:
        """Start no task that still waits."""
        self._pool.shutdown(wait=False, cancel_futures=True)
