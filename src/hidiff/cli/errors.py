"""Mistakes of a user as one clear message without a traceback; HIDIFF_DEBUG=1 shows it."""

import errno
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from hidiff.cli.say import say_error, warn

DEBUG_VARIABLE = "HIDIFF_DEBUG"
PACKAGE = Path(__file__).parents[1]
FAILED = 1  # exit code: some cases could not be done, others are
MISTAKE = 2  # exit code: a setting, a path or a file is not as it should be


class Mistake(ValueError):
    """A user's mistake on the command line; the message says what to do instead."""


class ClearErrors(TyperGroup):
    """A group of commands whose errors are told in words, with exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = show_warning
                return super().invoke(ctx)
        except Exception as error:
            text = explain(error)
            if text is None or os.environ.get(DEBUG_VARIABLE):
                raise
            say_error(text)
            raise typer.Exit(MISTAKE) from error


def show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    """Show our own warnings as one line, and those of libraries as Python does."""
    if PACKAGE in Path(filename).parents:
        warn(str(message))
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        sys.stderr.write(text)


def explain(error: Exception) -> str | None:
    """Return the message for an error that a user can mend; None for an error of ours."""
    if isinstance(error, BrokenPipeError):
        return None
    if isinstance(error, OSError):
        return _explain_file(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return (
            "the memory is full. Lower training.batch_size or raise training.accumulation "
            f"(training), lower prediction.windows (prediction), or use --device cpu. ({error})"
        )
    if type(error).__name__ == "NotFiniteError" or isinstance(error, ImportError):
        return str(error)
    if isinstance(error, ValueError):
        # A bare ValueError may also come from a library, where its place tells more than its words.
        hint = f" ({DEBUG_VARIABLE}=1 shows where.)" if type(error) is ValueError else ""
        return f"{error}{hint}"
    return None


def _explain_file(error: OSError) -> str:
    if error.errno is None:  # raised by us, with all it takes in its words
        return str(error)
    place = f"{error.filename}: " if error.filename else ""
    advice = {
        errno.ENOSPC: "Free some space, or write elsewhere with --output.",
        errno.EACCES: "Check its permissions, or choose another place.",
        errno.EROFS: "Choose a place that can be written to.",
        errno.ENOENT: "Check the path.",
        errno.EEXIST: "Remove it, or choose another place.",
    }.get(error.errno, "")
    return f"{place}{error.strerror}. {advice}".strip()
