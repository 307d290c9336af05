"""The files an evaluation leaves beside its report: rows, summary and tables."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from hidiff.evaluation.chosen import case_scores
from hidiff.evaluation.studies import KINDS, CalibrationStudy, SizeStudy
from hidiff.metrics import Review, Summary, flag_for_review, summarise, write_csv, write_json
from hidiff.metrics.table import Row
from hidiff.report.files import (
    RELIABILITY_FILE,
    SIZE_FILES,
    TABLE_FILES,
)
from hidiff.report.format import markdown_bands, markdown_table
from hidiff.weights import atomic_write


def write_tables(folder: Path, rows: Sequence[Row]) -> Summary:
    """Write rows.csv, summary.json and table.md, and return the summary."""
    summary = summarise(rows)
    rows_file, summary_file, table_file = (folder / name for name in TABLE_FILES)
    write_csv(rows, rows_file)
    write_json(summary, summary_file)
    with atomic_write(table_file) as temporary:
        table = markdown_table(summary, metrics=summary.metrics)
        temporary.write_text(table, encoding="utf-8")
    return summary


def write_reliability(folder: Path, study: CalibrationStudy) -> None:
    """Write reliability.csv: a line per class, source and bin that holds a pixel."""
    with (
        atomic_write(folder / RELIABILITY_FILE) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("class", "source", "bin", "pixels", "mean_probability", "share_true"))
        for name, curves in study.curves.items():
            for source, curve in curves.items():
                writer.writerows((name, source, *point) for point in curve.points())


def write_sizes(folder: Path, study: SizeStudy) -> None:
    """Write sizes.csv, a row per case and band, and sizes.md, the table."""
    csv_file, table_file = (folder / name for name in SIZE_FILES)
    if study.things:
        write_csv(study.band_rows, csv_file)
    parts = []
    if summary := study.summary:
        parts.append(markdown_table(summary, metrics=summary.metrics))
    parts.append(markdown_bands(study.bands, counted=KINDS[study.kind].counted))
    with atomic_write(table_file) as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")


def review_cases(rows: Sequence[Row], doubt: Mapping[str, float]) -> Review:
    """Find the cases that need review, by the errors of the refined masks, or of the prior's."""
    scores = case_scores(rows, "dice")
    error = {name: 1 - each.get("refined", each["prior"]) for name, each in scores.items()}
    return flag_for_review(doubt, error)
