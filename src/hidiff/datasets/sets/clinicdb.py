"""CVC-ClinicDB: 612 frames of 29 sequences; the frames of one sequence are nearly alike."""

import re
from pathlib import Path

from hidiff.images.files import DataError

SEQUENCE_FILE = "sequences.txt"
# The last frame of each sequence; the first one starts at frame 1. All 29 ranges equal those of two
# public copies of the table: https://polyp.grand-challenge.org/CVCClinicDB/ and
# https://datasetninja.com/cvc-612. A SEQUENCE_FILE in the data set's folder replaces it.
LAST_FRAMES = (
    25, 50, 67, 78, 103, 126, 151, 177, 199, 205, 227, 252, 277, 297, 317, 342, 363, 383, 408, 428,
    447, 466, 478, 503, 528, 546, 571, 591, 612,
)  # fmt: skip


def group_frames(root: Path, frames: list[int]) -> dict[int, str]:
    """Return the sequence of each frame, by SEQUENCE_FILE (lines such as 1-25) or the table."""
    file = root / SEQUENCE_FILE
    if file.is_file():
        ranges, table = _read_ranges(file), str(file)
    else:
        starts = (1, *(last + 1 for last in LAST_FRAMES[:-1]))
        ranges, table = list(zip(starts, LAST_FRAMES, strict=True)), "the publisher's table"
    groups = {}
    for frame in frames:
        sequences = [n for n, (first, last) in enumerate(ranges, 1) if first <= frame <= last]
        if len(sequences) != 1:
            raise DataError(
                f"frame {frame} is in {len(sequences)} sequences of {table}, but must be in "
                f"exactly one. Correct {file}: one sequence per line, such as 1-25."
            )
        groups[frame] = f"sequence-{sequences[0]:02d}"
    return groups


def _read_ranges(file: Path) -> list[tuple[int, int]]:
    """Return the first and last frame of each sequence. Raises DataError for any other line."""
    ranges = []
    for line in file.read_text(encoding="utf-8").splitlines():
        match = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", line)
        if line.strip() and not match:
            raise DataError(
                f"{file} holds the line {line!r}, but each line must be a range of frames, such as "
                "1-25. Correct that line."
            )
        if match:
            ranges.append((int(match.group(1)), int(match.group(2))))
    return ranges
