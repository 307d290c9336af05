"""The error of a request that cannot be done, and its one line."""

import re
from pathlib import Path


class Refusal(Exception):
    """A request that cannot be done; the message says why and what to do."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def one_line(error: Exception | str, folder: Path | None = None) -> str:
    """Return an error's message on one line, without the server's own folders in it."""
    text = " ".join(str(error).split())
    if folder is not None:
        text = re.sub(rf"{re.escape(str(folder))}/?(?:series/)?(?:unpacked/)?", "", text)
    return text[:1000] or type(error).__name__
