"""The command `hidiff`. Nothing heavy is imported before a command runs, so that help is quick."""

from hidiff.cli.app import app, main

__all__ = ["app", "main"]
