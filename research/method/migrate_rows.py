"""Write the resolved recipe beside each row of results that so far had only a hash of it.

    git checkout 2fce81a -- results
    python research/method/migrate_rows.py [--results results] [--check]

Rows of version 1 identify their recipe by `recipe_sha256`: a hash of the settings that differ from
their defaults. This script resolves every run of the shipped suites and finds each row's recipe by
that hash, never by the row's names alone. The recipes go to RESULTS/SUITE/recipes.jsonl, each
distinct one once; a row of version 2 names its own, and its stage 1's, by their SHA-256, in place
of the former hash. A row whose hash no recipe has gets "unknown". Nothing else in a row changes,
and no file of single cases is touched. With --check the script only counts.

Two defaults have changed since the first rows: training.last_step_share was 0 and
data.outside_field_of_view was "ignored". So each run is also resolved with these former values.
"""

import argparse
import hashlib
import json
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from hidiff.cli.recipes import find_recipe
from hidiff.datasets import CATALOG
from hidiff.recipe import Recipe, change_recipe, make_recipe
from hidiff.suites import Run, list_runs, read_suite, shipped_suites
from hidiff.suites.identity import digest, stage1_of
from hidiff.suites.runs import judged_recipe
from hidiff.suites.suite import Evaluation

UNKNOWN = "unknown"
FORMER = (
    (),
    ("training.last_step_share=0",),
    ("data.outside_field_of_view=ignored",),
    ("training.last_step_share=0", "data.outside_field_of_view=ignored"),
)
# The defaults that the hashes of version 1 are taken against.
DEFAULTS = make_recipe(
    {
        "name": "least",
        "data": {"path": "unused"},
        "labels": {"kind": "one_class", "classes": {"unused": [1]}},
    }
).model_dump(mode="json")
DEFAULTS["training"]["last_step_share"] = 0.0
DEFAULTS["data"]["outside_field_of_view"] = "ignored"

Row = dict[str, Any]
Names = tuple[str, str, int, str]
Resolved = tuple[dict[str, Any], dict[str, Any]]
"""the recipe and its stage 1's, as JSON"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the resolved recipe beside each row.")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--check", action="store_true", help="count, and write nothing")
    args = parser.parse_args()
    known = resolve_suites()
    csv_before = hash_files(args.results, "*.csv")
    for file in sorted(args.results.glob("*/rows.jsonl")):
        migrate(file, known, args.check)
    assert hash_files(args.results, "*.csv") == csv_before
    print(f"{len(csv_before)} CSV files are unchanged")


def migrate(file: Path, known: Mapping[str, Mapping[Names, Resolved]], check: bool) -> None:
    """Add the recipes to one suite's rows, and print how many rows got theirs."""
    text = file.read_text(encoding="utf-8")
    old = [json.loads(line) for line in text.splitlines()]
    recipes: dict[str, dict[str, Any]] = {}
    rows = []
    for row in old:
        resolved = find_resolved(row, known)
        keys = [UNKNOWN, UNKNOWN]
        if resolved is not None:
            keys = [digest(content) for content in resolved]
            recipes |= dict(zip(keys, resolved, strict=True))
        rows.append(insert(row, *keys))
    for before, after in zip(old, rows, strict=True):
        changed = {"version", "recipe_sha256", "resolved_recipe", "resolved_stage1"}
        assert drop(before, changed) == drop(after, changed)
    unknown = sum(row["resolved_recipe"] == UNKNOWN for row in rows)
    new = to_lines(rows)
    stored = to_lines({"sha256": key, "recipe": recipe} for key, recipe in recipes.items())
    print(
        f"{file.parent.name}: {len(rows)} rows, {len(rows) - unknown} resolved, {unknown} unknown; "
        f"{len(recipes)} recipes; {len(text)} bytes before, {len(new)} + {len(stored)} after"
    )
    if not check:
        file.write_text(new, encoding="utf-8")
        (file.parent / "recipes.jsonl").write_text(stored, encoding="utf-8")


def find_resolved(row: Row, known: Mapping[str, Mapping[Names, Resolved]]) -> Resolved | None:
    """Return the recipes of the run that has the row's hash and its names, or None.

    A hash alone may be shared: it is of the recipe as evaluated, and two arms that were trained on
    different patients are evaluated on the same ones.
    """
    names = row["data"], row["arm"], row["seed"], row["evaluation"]
    return known.get(row["recipe_sha256"], {}).get(names)


def insert(row: Row, recipe: str, stage1: str) -> Row:
    """Return the row of version 2, with both keys in place of the recipe's hash."""
    content: Row = {}
    for name, value in row.items():
        if name == "recipe_sha256":
            content |= {"resolved_recipe": recipe, "resolved_stage1": stage1}
        else:
            content[name] = value
    return {**content, "version": 2}


def drop(row: Row, names: Container[str]) -> Row:
    """Return the row without the named fields."""
    return {name: value for name, value in row.items() if name not in names}


def resolve_suites() -> dict[str, dict[Names, Resolved]]:
    """Return the recipes of every run of the shipped suites, by hash and then by names."""
    known: dict[str, dict[Names, Resolved]] = {}
    for name in shipped_suites():
        file = shipped_suites()[name]
        for run in list_runs(read_suite(file), file, find_recipe):
            for changes in FORMER:
                for sha256, names, resolved in resolve(run, changes):
                    known.setdefault(sha256, {}).setdefault(names, resolved)
    return known


def resolve(run: Run, changes: tuple[str, ...]) -> Iterator[tuple[str, Names, Resolved]]:
    """Yield hash, names and recipes of each of the run's evaluations."""
    recipe = change_recipe(run.recipe, changes) if changes else run.recipe
    stage1 = run.stage1 if run.came or not changes else stage1_of(recipe)
    changed = type(run)(**{**vars(run), "recipe": recipe, "stage1": stage1})
    start = (recipe_hash(stage1),) if run.came else ()
    resolved = recipe.model_dump(mode="json"), stage1.model_dump(mode="json")
    for name, evaluation in run.evaluations.items():
        judged = judged_recipe(changed, evaluation)
        sha256 = recipe_hash(judged, describe(evaluation), run.sizes, *start)
        yield sha256, (run.data, run.arm, run.seed, name), resolved


def describe(evaluation: Evaluation) -> dict[str, Any]:
    """Return the evaluation's part of a hash of version 1; it says `packed` only where true."""
    content = evaluation.model_dump(exclude={"arms"})
    return content if evaluation.packed else {k: v for k, v in content.items() if k != "packed"}


def recipe_hash(recipe: Recipe, *more: Any) -> str:
    """Return a recipe's hash of version 1."""
    content = recipe.model_dump(mode="json")
    del content["name"]
    del content["segmentor"]["weights"]
    if recipe.training.arm == "segmentor_only" or recipe.training.stage2_steps == 0:
        del content["training"]["last_step_share"]
    if not CATALOG[recipe.data.source].fields_of_view:
        del content["data"]["outside_field_of_view"]
    text = json.dumps([unlike(content, DEFAULTS), *more], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def unlike(content: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested settings that differ from the default."""
    different = {}
    for name, value in content.items():
        other = default.get(name)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            value, other = unlike(value, other), {}
        if name not in default or value != other:
            different[name] = value
    return different


def hash_files(folder: Path, pattern: str) -> dict[Path, str]:
    """Return the SHA-256 of every file below the folder that fits the pattern."""
    return {
        file: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob(pattern))
    }


def to_lines(rows: Any) -> str:
    """Return the rows as JSON, one a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    main()
