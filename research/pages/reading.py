"""Read the rows of all suites of research/, and replace a marked part of a page."""

from collections.abc import Sequence
from pathlib import Path

from hidiff.suites import Results, read_results, read_suite
from hidiff.suites.rows import Row
from hidiff.weights import atomic_write

ROOT = Path(__file__).parents[2]
SUITES = ROOT / "research" / "suites"
ROWS = ROOT / "research" / "rows"
DOCS = ROOT / "docs"


def read_suites(rows: Path = ROWS, suites: Path = SUITES) -> dict[str, Results]:
    """Return the results of every suite that has rows, by name.

    Rows of arms that the suite's file no longer lists are left out. Raises FileNotFoundError if
    there are no rows at all.
    """
    found = {}
    for file in sorted(suites.glob("*.yaml")):
        suite = read_suite(file)
        results = read_results(rows / suite.name)
        results.rows = [row for row in results.rows if row["arm"] in suite.arms]
        results.rows = without_former_rates(results.rows)
        if results.latest():
            found[suite.name] = results
    if not found:
        raise FileNotFoundError(
            f"{rows} has no rows of a suite in {suites}. Run one first: "
            f"hidiff benchmark {suites / 'main.yaml'} --results {rows}"
        )
    return found


def without_former_rates(rows: Sequence[Row]) -> list[Row]:
    """Leave out what a rate was chosen from, and rows of one rate if others have their best one.

    If an arm has chosen its rate on a data set, only rows at chosen rates count for both.
    """
    chosen = {(row["data"], row["arm"]) for row in rows if row.get("rates")}
    return [
        row
        for row in rows
        if row["look"].get("split") != "validation"
        and (row.get("rates") or (row["data"], row["arm"]) not in chosen)
    ]


def write_text(file: Path, *parts: str) -> None:
    """Write the parts of a page with an empty line between them."""
    with atomic_write(file) as temporary:
        text = "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"
        temporary.write_text(text, encoding="utf-8")


def replace_part(file: Path, name: str, text: str) -> None:
    """Replace what is between <!-- NAME --> and <!-- end of NAME -->. Raises ValueError."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    head, first, rest = file.read_text(encoding="utf-8").partition(begin)
    _, second, tail = rest.partition(end)
    if not (first and second):
        raise ValueError(f"{file} lacks the marks {begin} and {end} around the part to replace")
    page = f"{head}{begin}\n\n{text.strip()}\n\n{end}{tail}"
    with atomic_write(file) as temporary:
        temporary.write_text(page, encoding="utf-8")
