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
    starts = (1, *(last + 1 for last in LAST_FRAMES[:-1]))
    ranges = list(zip(starts, LAST_FRAMES, strict=True))
    where = "the usual table"
    if file.is_file():
        ranges, where = _read_ranges(file), str(file)
    groups = {}
    for frame in frames:
        inside = [
            number for number, (first, last) in enumerate(ranges, 1) if first <= frame <= last
        ]
        if len(inside) != 1:
            raise DataError(
                f"frame {frame} is in {len(inside)} sequences of {where}, but one is wanted. Mend "
                f"{file}: a sequence a line, such as 1-25."
            )
        groups[frame] = f"sequence-{inside[0]:02d}"
    return groups


def _read_ranges(file: Path) -> list[tuple[int, int]]:
    ranges = []
    for line in file.read_text(encoding="utf-8").splitlines():
        found = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", line)
        if line.strip() and not found:
            raise DataError(f"{file} holds {line!r}, but lines such as 1-25 are wanted. Mend it.")
        if found:
            ranges.append((int(found.group(1)), int(found.group(2))))
    return ranges
