"""Progress of prediction and evaluation: a bar with pace and time left, or lines of a log."""

import time

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from hidiff.cli.say import console, say

LOG_SECONDS = 60.0  # between two lines, where the output is no terminal
SHOWN_FROM = 20  # images: of fewer the pace is mostly that of the first one


def progress_bar() -> Progress:
    """Show a bar with count, pace and time left; it leaves nothing behind."""
    return Progress(
        # no markup in it, so Rich need not load its table of emoji
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _PaceColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


class Pace:
    """Shows how many images are done, how many a second, and the time left.

    On a terminal that is a bar; in the log of a scheduler a line every minute.
    """

    def __init__(self, total: int, description: str = "predicting"):
        self.total = total
        self.done = 0
        self._bar = progress_bar()
        self._task = self._bar.add_task(description, total=total)
        self._begun = self._logged = time.monotonic()
        self._ended: float | None = None

    def __enter__(self) -> "Pace":
        self._begun = self._logged = time.monotonic()
        self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended = time.monotonic()
        self._bar.__exit__(None, None, None)

    def step(self) -> None:
        """Count an image that has ended."""
        self.done += 1
        self._bar.update(self._task, completed=self.done)
        now = time.monotonic()
        if not console.is_terminal and now - self._logged >= LOG_SECONDS:
            self._logged = now
            left = (self.total - self.done) / self._a_second
            say(f"{self.done} of {self.total}, {format_pace(self._a_second)}, {left:.0f} s left")

    def share(self, share: float) -> None:
        """Show what share of the image in work is predicted, 0 to 1."""
        self._bar.update(self._task, completed=self.done + min(share, 0.99))

    @property
    def words(self) -> str:
        """Return the pace of the whole run, for the last line; "" for a few images."""
        return f" ({format_pace(self._a_second)})" if self.done >= SHOWN_FROM else ""

    @property
    def _a_second(self) -> float:
        now = time.monotonic() if self._ended is None else self._ended
        return self.done / max(now - self._begun, 1e-6)


def format_pace(a_second: float) -> str:
    """Return a pace in images a second, or of slow ones in seconds an image."""
    if a_second >= 1:
        return f"{a_second:.3g} images a second"
    return f"{1 / a_second:.3g} s an image" if a_second else "no image yet"


class _PaceColumn(ProgressColumn):
    """The pace of the last half minute."""

    def render(self, task: Task) -> Text:
        return Text(format_pace(task.finished_speed or task.speed or 0.0), "progress.data.speed")
