"""cases.json: the files of every case, wherever they lie, with its patient and its split.

`hidiff adapt` writes it, for images, masks and another model's results in three folders.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hidiff.datasets.case import Case
from hidiff.datasets.splits import SPLITS, Split, check_apart
from hidiff.images.files import DataError
from hidiff.weights import atomic_write

CASES_FILE = "cases.json"
_FILES = ("image", "mask", "field_of_view", "prior")


def list_listed(root: Path) -> dict[Split, list[Case]]:
    """Return the cases of every split. Raises DataError, naming cases.json, where it does not hold.

    A relative path starts from the folder of cases.json.
    """
    file = root / CASES_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
        entries = [(str(entry["split"]), _read_case(root, entry)) for entry in content["cases"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{file} does not read as a list of cases ({type(error).__name__}: {error}). Write it "
            "again with hidiff adapt."
        ) from None
    wrong = next((split for split, _ in entries if split not in SPLITS), None)
    if wrong is not None:
        raise DataError(
            f"{file} has a split {wrong!r}, but {', '.join(SPLITS)} are known. Mend it."
        )
    splits: dict[Split, list[Case]] = {
        split: [case for name, case in entries if name == split] for split in SPLITS
    }
    check_apart(str(file), splits)
    return splits


def write_listed(splits: Mapping[Split, Sequence[Case]], root: Path) -> Path:
    """Write cases.json, with whole paths, and return its path."""
    cases = [_describe(split, case) for split, listed in splits.items() for case in listed]
    root.mkdir(parents=True, exist_ok=True)
    with atomic_write(root / CASES_FILE) as temporary:
        text = json.dumps({"cases": cases}, indent=1, ensure_ascii=False) + "\n"
        temporary.write_text(text, encoding="utf-8")
    return root / CASES_FILE


def _describe(split: Split, case: Case) -> dict[str, Any]:
    files = {name: _paths_of(getattr(case, name)) for name in _FILES}
    entry = {"name": case.name, "patient": case.group, "split": split, **files}
    entry["has_spacing"] = case.has_spacing
    return {name: value for name, value in entry.items() if value is not None}


def _paths_of(files: Any) -> str | list[str] | None:
    if isinstance(files, tuple):
        return [str(Path(file).absolute()) for file in files]
    return None if files is None else str(Path(files).absolute())


def _read_case(root: Path, entry: Mapping[str, Any]) -> Case:
    def find(name: str) -> Any:
        value = entry.get(name)
        if value is None:
            return None
        return tuple(root / each for each in value) if isinstance(value, list) else root / value

    image, mask, field, prior = (find(name) for name in _FILES)
    if image is None:
        raise ValueError(f"case {entry['name']} has no image")
    has_spacing = bool(entry.get("has_spacing", True))
    return Case(str(entry["name"]), image, mask, field, str(entry["patient"]), has_spacing, prior)
