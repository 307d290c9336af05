"""rows.jsonl: a line a trained model and evaluation, with the rows of its cases in files beside."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hidiff.metrics.table import KEYS, NOT_METRICS, Row
from hidiff.weights import atomic_write

VERSION = 1  # of what a row holds; rows of another are made anew
ROWS_FILE = "rows.jsonl"
SAME = ("version", "data", "arm", "seed", "evaluation", "recipe_sha256", "split_sha256",
        "judged_sha256")  # fmt: skip
# what a second run of the same may find different, and nothing else
MEASURED = ("train_seconds", "seconds_per_case")

CaseRow = Mapping[str, Any]


@dataclass
class Results:
    """The rows of one suite, and their folder."""

    folder: Path
    rows: list[Row] = field(default_factory=list)

    def find(self, wanted: Mapping[str, Any]) -> Row | None:
        """The row that says the same of everything in SAME."""
        for row in self.rows:
            if all(row.get(name) == wanted[name] for name in SAME):
                return row
        return None

    def add(self, row: Row) -> None:
        """Write the row, the file whole or not at all."""
        self.rows.append(row)
        with atomic_write(self.folder / ROWS_FILE) as temporary:
            text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in self.rows)
            temporary.write_text(text, encoding="utf-8")

    def latest(self) -> list[Row]:
        """Of each data, arm, seed, evaluation and hardware the last row: recipes may change."""
        found: dict[tuple, Row] = {}
        for row in self.rows:
            if row["version"] == VERSION:
                key = *(row[name] for name in ("data", "arm", "seed", "evaluation")), kind(row)
                found.pop(key, None)
                found[key] = row
        return list(found.values())

    def cases(self, row: Row, what: str = "cases") -> list[Row]:
        """The rows of the single cases (`cases`, or by size `sizes`), as they were measured."""
        return read_cases(self.folder / row[what])


def read_results(folder: Path) -> Results:
    """The rows in a folder; none where it has none. Raises ValueError, naming the line."""
    file = folder / ROWS_FILE
    if not file.is_file():
        return Results(folder)
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            rows.append(json.loads(line))
            rows[-1]["version"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{file}, line {number}, is no row of hidiff benchmark ({error}). Take it out, "
                "and it is made anew."
            ) from None
    return Results(folder, rows)


def read_cases(file: Path) -> list[Row]:
    """Rows as `metrics.write_csv` wrote them, numbers as numbers."""
    with open(file, newline="", encoding="utf-8") as opened:
        lines = list(csv.DictReader(opened))
    words = (*KEYS, *(name for name in NOT_METRICS if name not in ("size", "count")))
    return [
        {name: value if name in words else float(value) for name, value in line.items()}
        for line in lines
    ]


def kind(row: Row) -> str:
    """The hardware in words."""
    each = row["hardware"]
    gpu = "" if each["gpu"] == "none" else f", {each['gpu']}"
    return f"{each['processor']}{gpu}, {each['threads']} threads, torch {each['torch']}"


def kinds(rows: Sequence[Row]) -> list[str]:
    """Every kind of hardware in the rows."""
    return list(dict.fromkeys(map(kind, rows)))


def file_name(*words: str) -> str:
    """Words as one name of a file, whatever they hold."""
    return re.sub(r"[^\w.-]+", "_", "_".join(words))
