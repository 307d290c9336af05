"""splits.json in a run's folder: who was on which side, with a hash, and looked over for leaks."""

import hashlib
import json
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hidiff.datasets.case import Case
from hidiff.datasets.patients import find_torn
from hidiff.datasets.splits import Split, check_apart
from hidiff.images.files import first_file
from hidiff.weights import atomic_write

SPLITS_FILE = "splits.json"
_HEAD = 2**16  # bytes
_Files = list[tuple[Split, Path]]


def record_splits(splits: Mapping[Split, Sequence[Case]]) -> dict[str, Any]:
    """Return names and groups of every split, and a hash that does not depend on where files lie.

    Raises DataError for a group on two sides.
    """
    check_apart("the data set", splits)
    sides = {
        split: {case.name: case.group for case in sorted(cases, key=lambda case: case.name)}
        for split, cases in splits.items()
    }
    text = json.dumps(sides, sort_keys=True, ensure_ascii=False)
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "splits": sides}


def write_splits(splits: Mapping[Split, Sequence[Case]], folder: Path) -> str:
    """Write splits.json, and return its hash. Warns of leaks, and of another split there before."""
    record, file = record_splits(splits), folder / SPLITS_FILE
    if found := find_torn(splits):
        patients, torn = found
        warnings.warn(patients.warning(torn), stacklevel=2)
    if twins := find_twins(splits):
        first, second = twins[0]
        more = f", and {len(twins) - 1} more pairs" if twins[1:] else ""
        warnings.warn(
            f"{first} and {second} are the same file{more}, on two sides of the split: scores may "
            "be too good. Take one out.",
            stacklevel=2,
        )
    if file.is_file() and json.loads(file.read_text(encoding="utf-8")) != record:
        warnings.warn(
            f"the cases and splits are no longer those that {folder} began with ({SPLITS_FILE}): "
            "its scores belong to both. Train anew beside it, unless this is meant.",
            stacklevel=2,
        )
        return record["sha256"]
    with atomic_write(file) as temporary:
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        temporary.write_text(text, encoding="utf-8")
    return record["sha256"]


def find_twins(splits: Mapping[Split, Sequence[Case]]) -> list[tuple[Path, Path]]:
    """Find image files with the same bytes in two splits. Only files of equal length are opened."""
    files: _Files = [
        (split, first_file(case.image))
        for split, cases in splits.items()
        for case in cases
        if first_file(case.image).is_file()
    ]
    twins = _alike(files, lambda file: file.stat().st_size)
    for read in (_head, _whole):
        twins = [pair for alike in twins for pair in _alike(alike, read)]
    return [(alike[0][1], other) for alike in twins for side, other in alike if side != alike[0][0]]


def _alike(files: _Files, key: Callable[[Path], Any]) -> list[_Files]:
    """Return the files with equal keys, if they belong to several splits."""
    found: dict[Any, _Files] = defaultdict(list)
    for split, file in files:
        found[key(file)].append((split, file))
    return [alike for alike in found.values() if len({split for split, _ in alike}) > 1]


def _head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.blake2b(opened.read(_HEAD)).digest()


def _whole(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "blake2b").digest()
