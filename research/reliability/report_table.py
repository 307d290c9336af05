"""The table of public reports: what was reported, and the function that tries it here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

RIGHT, REFUSED = "right", "refused clearly"


@dataclass(frozen=True)
class Report:
    """A situation that was reported in public."""

    repository: str
    number: int
    situation: str
    try_out: Callable[[Path], str]
    """makes the input in an empty folder, and returns RIGHT or REFUSED; raises if neither holds"""
    mended: bool = False
    """True if it was wrong here when it was first tried"""

    @property
    def name(self) -> str:
        """Return the repository with the number of the issue."""
        return f"{self.repository}#{self.number}"


REPORTS: list[Report] = []


def report(repository: str, number: int, situation: str, *, mended: bool = False) -> Callable:
    """Enter a function into the table; it is right unless it returns REFUSED."""

    def enter(function: Callable[[Path], str | None]) -> Callable:
        def try_out(folder: Path) -> str:
            return function(folder) or RIGHT

        REPORTS.append(Report(repository, number, situation, try_out, mended))
        return function

    return enter


def refused(call: Callable[[], object], *words: str) -> str:
    """Return REFUSED if a call is refused with these words; else raise AssertionError."""
    try:
        call()
    except ValueError as error:  # DataError, LabelError and RecipeError are
        lacking = [word for word in words if word not in str(error)]
        assert not lacking, f"{lacking} are not in: {error}"
        return REFUSED
    raise AssertionError(f"it was not refused, but {words} were expected")
