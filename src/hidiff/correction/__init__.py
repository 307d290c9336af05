"""Correct a mask by hand: sessions of marks, with undo, and files to go on from.

The names below are imported when they are first used, so that `hidiff.correction.settings`, from
which the command line makes its options, is quick to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hidiff.correction.candidates import Candidate
    from hidiff.correction.history import Change
    from hidiff.correction.session import Session
    from hidiff.correction.session_file import SavedSession, read_session
    from hidiff.correction.settings import CorrectionSettings
    from hidiff.correction.start import restore_session, start_session

__all__ = [
    "Candidate",
    "Change",
    "CorrectionSettings",
    "SavedSession",
    "Session",
    "read_session",
    "restore_session",
    "start_session",
]

_HOME = {
    "Candidate": "candidates",
    "Change": "history",
    "CorrectionSettings": "settings",
    "SavedSession": "session_file",
    "Session": "session",
    "read_session": "session_file",
    "restore_session": "start",
    "start_session": "start",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module the first time it is asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
