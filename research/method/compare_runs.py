"""Are two runs as good as each other? The paired difference of two evaluations of the same cases.

    hidiff evaluate runs/drive --no-report; hidiff evaluate runs/drive_once --no-report
    python research/method/compare_runs.py runs/drive/test/rows.csv runs/drive_once/test/rows.csv \
        --name drive_condition_once

Prints and writes results/NAME.json beside this script: for each class and metric both means, and
the second less the first with its 95 % interval over groups and Wilcoxon's p.
"""

import argparse
import csv
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hidiff
from hidiff.metrics import summarise
from hidiff.metrics.table import NOT_METRICS

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--source", default="refined", help="prior or refined")
    parser.add_argument("--name", required=True, help="of the file in results/")
    args = parser.parse_args()
    # the two arms as the two sources of one summary, so that the difference is paired
    first, second = (read(path, args.source) for path in (args.first, args.second))
    rows = [{**row, "source": "prior"} for row in first]
    rows += [{**row, "source": "refined"} for row in second]
    summary = summarise(rows)
    found = [
        {
            "class": entry.class_name,
            "metric": entry.metric,
            "first": entry.prior.mean,
            "second": entry.refined.mean,
            "difference": asdict(entry.difference),
            "test": asdict(entry.test) if entry.test else None,
        }
        for entry in summary.entries
        if entry.prior and entry.refined and entry.difference
    ]
    result = {
        "question": f"{args.second.parts[-3]} less {args.first.parts[-3]}, {args.source}",
        "cases": summary.num_cases,
        "groups": summary.num_groups,
        "differences": found,
        "hidiff": hidiff.__version__,
    }
    write(result, __file__, args.name)


def read(path: Path, source: str) -> list[dict[str, Any]]:
    """The rows of one source, numbers as numbers."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == source]
    return [
        {name: value if name in NOT_METRICS else float(value) for name, value in row.items()}
        for row in rows
    ]


if __name__ == "__main__":
    main()
