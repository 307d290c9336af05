"""Read and write rows.jsonl: one line for each trained model and evaluation.

The scores of single cases lie in CSV files beside it, and the recipes in recipes.jsonl: each
distinct one is stored once, complete with its defaults, and rows name it by its SHA-256.
"""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hidiff.metrics.table import KEYS, NOT_METRICS, Row
from hidiff.recipe import Recipe
from hidiff.suites.identity import Content, digest, identify_run, read_identity
from hidiff.weights import atomic_write

VERSION = 2  # layout of a row; rows of another layout are not read
ROWS_FILE = "rows.jsonl"
RECIPES_FILE = "recipes.jsonl"
# All that may differ between the rows of two equal runs.
MEASURED = ("train_seconds", "seconds_per_case")

CaseRow = Mapping[str, Any]


@dataclass(frozen=True)
class Identity:
    """All that a row must agree in to belong to a run and one of its evaluations."""

    fields: Mapping[str, Any]
    """names, seed, changes of the evaluation and hashes of the splits, as a row stores them"""
    recipe: Recipe
    stage1: Recipe
    """the recipe that its stage 1 is trained by"""


@dataclass
class Results:
    """The rows of one suite, the recipes they were made with, and their folder."""

    folder: Path
    rows: list[Row] = field(default_factory=list)
    recipes: dict[str, Content] = field(default_factory=dict)
    """resolved recipes by their SHA-256"""

    def find(self, wanted: Identity) -> Row | None:
        """Return the row of the same run and evaluation.

        Recipes are compared as resolved by today's settings: a setting that is younger than the
        row counts with its default, and a default that has changed since separates the two. A
        stored recipe that today's settings refuse, or that is unknown, fits nothing.
        """
        recipes = identify_run(wanted.recipe, wanted.stage1, wanted.fields["arm"])
        for row in self.rows:
            if row["version"] != VERSION:
                continue
            same = all(row.get(name) == value for name, value in wanted.fields.items())
            if same and self._identify(row) == recipes:
                return row
        return None

    def _identify(self, row: Row) -> list[Content] | None:
        recipe, stage1 = (
            self.recipes.get(row[name]) for name in ("resolved_recipe", "resolved_stage1")
        )
        return read_identity(recipe, stage1, row["arm"]) if recipe and stage1 else None

    def add(self, row: Row, *recipes: Recipe) -> None:
        """Write the row, and first the recipes that it names. A file is written whole or not."""
        for recipe in recipes:
            content = recipe.model_dump(mode="json")
            self.recipes.setdefault(digest(content), content)
        stored = [{"sha256": key, "recipe": content} for key, content in self.recipes.items()]
        write_lines(self.folder / RECIPES_FILE, stored)
        self.rows.append(row)
        write_lines(self.folder / ROWS_FILE, self.rows)

    def latest(self) -> list[Row]:
        """Return the last row of each data, arm, seed, evaluation and hardware.

        There are several if a recipe has changed since.
        """
        found: dict[tuple, Row] = {}
        for row in self.rows:
            if row["version"] == VERSION:
                key = *(row[name] for name in ("data", "arm", "seed", "evaluation")), kind(row)
                found.pop(key, None)
                found[key] = row
        return list(found.values())

    def cases(self, row: Row, what: str = "cases") -> list[Row]:
        """Return the scores of single cases (`what` is "cases"), or by size ("sizes")."""
        return read_cases(self.folder / row[what])


def read_results(folder: Path) -> Results:
    """Return the rows in a folder, if any. Raises ValueError, naming the line that is wrong."""
    rows = read_lines(folder / ROWS_FILE, "version")
    recipes = read_lines(folder / RECIPES_FILE, "sha256", "recipe")
    return Results(folder, rows, {line["sha256"]: line["recipe"] for line in recipes})


def read_lines(file: Path, *required: str) -> list[Row]:
    """Return the JSON object of each line; each must have the required keys."""
    if not file.is_file():
        return []
    lines = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            content = json.loads(line)
            for key in required:
                content[key]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{file}, line {number}: hidiff benchmark does not write such a line ({error!r}). "
                "Delete the line; what is missing then is made again."
            ) from error
        lines.append(content)
    return lines


def write_lines(file: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write each object as one line of JSON."""
    with atomic_write(file) as temporary:
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        temporary.write_text(text, encoding="utf-8")


def read_cases(file: Path) -> list[Row]:
    """Return the rows that `metrics.write_csv` wrote, with numbers as floats."""
    with open(file, newline="", encoding="utf-8") as opened:
        lines = list(csv.DictReader(opened))
    words = (*KEYS, *(name for name in NOT_METRICS if name not in ("size", "count")))
    return [
        {name: value if name in words else float(value) for name, value in line.items()}
        for line in lines
    ]


def kind(row: Row) -> str:
    """Return the hardware in words."""
    each = row["hardware"]
    gpu = "" if each["gpu"] == "none" else f", {each['gpu']}"
    return f"{each['processor']}{gpu}, {each['threads']} threads, torch {each['torch']}"


def kinds(rows: Sequence[Row]) -> list[str]:
    """Return every kind of hardware in the rows."""
    return list(dict.fromkeys(map(kind, rows)))


def file_name(*words: str) -> str:
    """Join words to the name of a file, and replace characters that do not fit there."""
    return re.sub(r"[^\w.-]+", "_", "_".join(words))
