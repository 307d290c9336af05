"""The names of the files that an evaluation leaves; imports nothing heavy."""

from pathlib import Path

TABLE_FILES = ("rows.csv", "summary.json", "table.md")
REVIEW_FILE = "review.csv"
RELIABILITY_FILE = "reliability.csv"
SIZE_FILES = ("sizes.csv", "sizes.md")
REPORT = "report.html"
PICTURES = "pictures"


def result_files(folder: Path) -> list[Path]:
    """Return the files of an evaluation that lie in a folder."""
    files = (*TABLE_FILES, *SIZE_FILES, REVIEW_FILE, RELIABILITY_FILE, REPORT)
    named = [folder / name for name in files]
    return [*filter(Path.is_file, named), *sorted((folder / PICTURES).glob("*.png"))]


def check_free(folder: Path, overwrite: bool) -> None:
    """Raise FileExistsError if the results of another evaluation would be lost."""
    if result_files(folder) and not overwrite:
        raise FileExistsError(
            f"{folder} holds an evaluation already. Replace it with --overwrite, or write beside "
            "it with --output."
        )
