"""Print plain lines, unbroken on a narrow terminal; errors go to stderr."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

MOST_SHOWN = 20  # failures named at the end
# Both look for sys.stdout and sys.stderr anew at every line, so that tests can catch them.
console = Console(highlight=False)
error_console = Console(stderr=True, highlight=False)


def say(text: str = "", style: str = "") -> None:
    """Print a line of output. Brackets in it stay brackets, and long paths stay in one piece."""
    console.print(Text(text, style), soft_wrap=True)


def warn(text: str) -> None:
    """Print a line on stderr about something that was skipped or replaced."""
    error_console.print(Text(f"Note: {text}", "yellow"), soft_wrap=True)


def say_error(text: str) -> None:
    """Print the error that ends the command, in red on stderr."""
    error_console.print(Text(f"Error: {text}", "bold red"), soft_wrap=True)


def show_failures(failures: Sequence[str]) -> None:
    """Print the cases that failed, each on a line of its own, on stderr."""
    error_console.print(f"{len(failures)} failed:", style="bold red")
    for failure in failures[:MOST_SHOWN]:
        error_console.print(f"  {failure}", soft_wrap=True, markup=False)
    if len(failures) > MOST_SHOWN:
        error_console.print(f"  and {len(failures) - MOST_SHOWN} more")
