"""Public reports of other projects' users are right here, or refused in clear words."""

import csv
import importlib
import sys
import warnings
from pathlib import Path

import pytest

RELIABILITY = Path(__file__).parents[2] / "research" / "reliability"
for extra in ("nrrd", "pydicom", "highdicom"):
    pytest.importorskip(extra, reason="the extras dicom and formats are not installed")
sys.path.insert(0, str(RELIABILITY))
reports = importlib.import_module("public_reports")
sys.path.remove(str(RELIABILITY))


@pytest.mark.parametrize("report", reports.REPORTS, ids=lambda report: report.name)
@pytest.mark.filterwarnings("ignore")
def test_it_is_right_or_refused_clearly(report, tmp_path):
    assert report.try_out(tmp_path) in ("right", "refused clearly")


def test_a_wrong_result_is_told_as_one(tmp_path):
    def wrong(folder):
        raise AssertionError("other values")

    report = reports.Report("a/b", 1, "a situation", wrong)
    with warnings.catch_warnings():
        assert reports.row(report)["result"] == "wrong: AssertionError: other values"


def test_the_table_has_every_report_and_none_is_wrong():
    with open(RELIABILITY / "public_reports.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    known = [(each.repository, str(each.number), each.situation) for each in reports.REPORTS]
    assert [(row["repository"], row["number"], row["situation"]) for row in rows] == known
    assert len(known) >= 20 and len({each.name for each in reports.REPORTS}) == len(known)
    assert not [row for row in rows if row["result"].startswith("wrong")]
