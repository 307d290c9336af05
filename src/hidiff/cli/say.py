"""Print plain lines, unbroken on a narrow terminal; errors go to stderr."""

from rich.console import Console
from rich.text import Text

# Both look for sys.stdout and sys.stderr anew at every line, so that tests can catch them.
console = Console(highlight=False)
error_console = Console(stderr=True, highlight=False)


def say(text: str = "", style: str = "") -> None:
    """A line of output; brackets in it are brackets, and long paths stay in one piece."""
    console.print(Text(text, style), soft_wrap=True)


def warn(text: str) -> None:
    """A line on stderr about something that was skipped or replaced."""
    error_console.print(Text(f"Note: {text}", "yellow"), soft_wrap=True)


def say_error(text: str) -> None:
    """Print the error that ends the command, in red on stderr."""
    error_console.print(Text(f"Error: {text}", "bold red"), soft_wrap=True)
