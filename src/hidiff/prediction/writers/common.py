"""What a format for predictions is, and the names of its files."""

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
    """of a prediction, with its uncertainty where that is asked for"""

    def taken(self, folder: Path) -> set[str]:
        """Return the stems of all predictions of this format in a folder."""
        names = [file.name for file in folder.iterdir()] if folder.is_dir() else []
        stems = [name.removesuffix(self.ending) for name in names if name.endswith(self.ending)]
        return {re.sub(r"_labels(_.*)?$", "", stem) for stem in stems}


def plane_stems(names: Sequence[str]) -> list[str]:
    """Return "0-background", "1-left_lung", ...; the number keeps apart names that look alike."""
    return [f"{i}-{re.sub(r'[^0-9A-Za-z.-]+', '_', name)}" for i, name in enumerate(names)]


def writes_bytes(content: bytes) -> Callable[[Path], None]:
    """Return what writes a file's content."""

    def write(path: Path) -> None:
        path.write_bytes(content)

    return write
