"""The interface of a format for predictions, and the names of its files."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hidiff.prediction.prediction import Prediction

# What follows the stem in a file's name, and what writes the file.
Files = Iterator[tuple[str, Callable[[Path], None]]]


@dataclass(frozen=True)
class PredictionFormat:
    """One way to write a prediction."""

    ending: str
    files: Callable[[Prediction, bool], Files]
    """lists the files of a prediction, with its uncertainty where that is asked for; the labels
    come first, and appear last"""


def plane_stems(names: Sequence[str]) -> list[str]:
    """Return "0-background", "1-left_lung", ...; the number keeps apart names that look alike."""
    return [f"{i}-{re.sub(r'[^0-9A-Za-z.-]+', '_', name)}" for i, name in enumerate(names)]


def writes_bytes(content: bytes) -> Callable[[Path], None]:
    """Return what writes a file's content."""

    def write(path: Path) -> None:
        path.write_bytes(content)

    return write
