"""Warnings of the library, each for the request that caused it.

`warnings.catch_warnings` catches what any thread warns of, so one person would read the remarks on
another's image.
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_caught: ContextVar[list[str] | None] = ContextVar("caught", default=None)
_lock = threading.Lock()


@contextmanager
def caught_warnings() -> Iterator[list[str]]:
    """Give a list that fills with the messages of this thread's warnings; nothing is printed."""
    _listen()
    caught: list[str] = []
    token = _caught.set(caught)
    try:
        yield caught
    finally:
        _caught.reset(token)


def _listen() -> None:
    """Let warnings pass through here, unless they do."""
    with _lock:
        if getattr(warnings.showwarning, "is_ours", False):
            return
        former = warnings.showwarning

        def show(message: Any, *place: Any, **options: Any) -> None:
            caught = _caught.get()
            if caught is None:
                former(message, *place, **options)
            elif str(message) not in caught:
                caught.append(str(message))

        setattr(show, "is_ours", True)  # noqa: B010 (a function has no such attribute to a type checker)
        warnings.showwarning = show
        warnings.simplefilter(
            "always", UserWarning
        )  # each session hears of it, not the first alone
