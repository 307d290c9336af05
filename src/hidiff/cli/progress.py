"""The progress bar of prediction and evaluation."""

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hidiff.cli.say import console


def progress_bar() -> Progress:
    """A bar with the count and the time left; it leaves nothing behind."""
    return Progress(
        # no markup in it, so Rich need not load its table of emoji
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
