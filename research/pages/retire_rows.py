"""Keep the rows of retired settings as CSV, and take them out of the rows that suites go on with.

    python research/pages/retire_rows.py [--delete]

Rows of arms that a suite's file no longer lists for their data set are written to
research/rows/retired: rows.csv has a line for each score, cases.csv the scores of single cases,
sizes.csv those by size. With `--delete` they are then deleted from rows.jsonl, with their recipes
and files of cases. Run it after an arm was taken out of a suite. Lines that retired/ already holds
are kept.
"""

import argparse
import csv
import json
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from hidiff.suites import Results, Suite, read_results, read_suite
from hidiff.suites.rows import RECIPES_FILE, ROWS_FILE, Row, write_lines
from hidiff.weights import atomic_write

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.pages.reading import ROWS, SUITES
from research.pages.tables import Line

NAMES = ("suite", "data", "arm", "seed", "evaluation")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--delete", action="store_true", help="delete the rows and their files")
    parser.add_argument("--rows", type=Path, default=ROWS, help="folder of the suites' rows")
    parser.add_argument("--suites", type=Path, default=SUITES, help="folder of the suites")
    args = parser.parse_args()
    for file in sorted(args.suites.glob("*.yaml")):
        suite = read_suite(file)
        results = read_results(args.rows / suite.name)
        retired = [row for row in results.rows if row["arm"] not in arms_of(suite, row["data"])]
        if retired:
            print(f"{suite.name}: {len(retired)} rows of retired arms")
            export(results, retired, args.rows / "retired")
            if args.delete:
                delete(results, retired)


def arms_of(suite: Suite, data: str) -> Collection[str]:
    """Return the arms that a suite has on a data set."""
    recipe = suite.recipes.get(data)
    return (recipe and recipe.arms) or suite.arms


def export(results: Results, retired: list[Row], folder: Path) -> None:
    """Add the rows and the scores of their cases to the files in the folder."""
    add_lines(folder / "rows.csv", [line for row in retired for line in score_lines(row)])
    for kind in ("cases", "sizes"):
        lines = [
            {**{name: row[name] for name in NAMES}, **case}
            for row in retired
            if row[kind]
            for case in results.cases(row, kind)
        ]
        add_lines(folder / f"{kind}.csv", lines)


def score_lines(row: Row) -> Iterator[Line]:
    """Yield a line for each class, metric and source of a row."""
    for class_name, metrics in row["metrics"].items():
        for metric, sources in metrics.items():
            for source, (mean, low, high) in sources.items():
                yield {
                    **{name: row[name] for name in NAMES},
                    "changes": json.dumps(row["changes"]),
                    "hidiff": row["hidiff"],
                    "class": class_name,
                    "metric": metric,
                    "source": source,
                    "mean": mean,
                    "low": low,
                    "high": high,
                    "n": row["num_groups"],
                }


def add_lines(file: Path, lines: list[Line]) -> None:
    """Add lines to a CSV file, unless it holds them; a column that is missing stays empty."""
    former: list[dict[str, str]] = []
    if file.is_file():
        with open(file, newline="", encoding="utf-8") as opened:
            former = list(csv.DictReader(opened))
    new = [{name: str(value) for name, value in line.items()} for line in lines]
    columns = list(dict.fromkeys(name for line in (*former, *new) for name in line))
    every = [{name: line.get(name, "") for name in columns} for line in (*former, *new)]
    unique = list({tuple(line.values()): line for line in every}.values())
    if not unique:
        return
    with (
        atomic_write(file) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as opened,
    ):
        writer = csv.DictWriter(opened, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(unique)


def delete(results: Results, retired: list[Row]) -> None:
    """Delete rows from rows.jsonl, and recipes and files of cases that no other row names."""
    kept = [row for row in results.rows if row not in retired]
    named = {row.get(name) for row in kept for name in ("resolved_recipe", "resolved_stage1")}
    recipes = {key: recipe for key, recipe in results.recipes.items() if key in named}
    stored = [{"sha256": key, "recipe": recipe} for key, recipe in recipes.items()]
    write_lines(results.folder / ROWS_FILE, kept)
    write_lines(results.folder / RECIPES_FILE, stored)
    for kind in ("cases", "sizes"):
        used = {row[kind] for row in kept}
        for row in retired:
            if row[kind] and row[kind] not in used:
                (results.folder / row[kind]).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
