"""Do situations that other projects' users reported in public come out right here?

    pip install 'hidiff[dicom,formats]'
    python research/reliability/public_reports.py [--only OWNER/NAME#NUMBER]

Each report is rebuilt as a small input (report_pictures.py, report_volumes.py, report_dicom.py)
and tried on the library or its commands. What comes out is `right`, or `refused clearly` where
nobody can know what is right. `mended` says that it was wrong when it was first tried. The results
go to public_reports.csv; tests/research/test_public_reports.py runs the same functions.
"""

import argparse
import csv
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # where `tests` is
sys.path.insert(0, str(Path(__file__).parent))  # where the reports are

import report_dicom  # noqa: E402, F401  its reports enter the table
import report_pictures  # noqa: E402, F401
import report_volumes  # noqa: E402, F401
from report_table import REPORTS, Report  # noqa: E402

TEST = "tests/research/test_public_reports.py::test_it_is_right_or_refused_clearly"
RESULTS = Path(__file__).parent / "public_reports.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="one report, such as MIC-DKFZ/nnUNet#1669")
    args = parser.parse_args()
    chosen = [each for each in REPORTS if args.only in (None, each.name)]
    if not chosen:
        raise SystemExit(f"no report {args.only}; known are {', '.join(r.name for r in REPORTS)}")
    rows = [row(report) for report in chosen]
    if args.only is None:
        with open(RESULTS, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    wrong = [each for each in rows if each["result"].startswith("wrong")]
    print(f"{len(rows) - len(wrong)} of {len(rows)} are right or refused clearly")
    for each in wrong:
        print(each, file=sys.stderr)
    if wrong:
        raise SystemExit(1)


def row(report: Report) -> dict[str, str]:
    """Try a report, and return its row of the table."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = report.try_out(Path(folder))
        except Exception as error:  # whatever comes is the finding
            traceback.print_exc()
            result = f"wrong: {type(error).__name__}: {str(error)[:200]}"
    if report.mended and not result.startswith("wrong"):
        result = f"{result}, mended"
    return {
        "repository": report.repository,
        "number": str(report.number),
        "situation": report.situation,
        "result": result,
        "test": f"{TEST}[{report.name}]",
    }


if __name__ == "__main__":
    main()
