"""Numbers that say how good a mask is, and tables that say how sure we are."""

from hidiff.metrics.calibration import brier_score, expected_calibration_error
from hidiff.metrics.format import markdown_table
from hidiff.metrics.masks import METRICS, Metric, case_metrics
from hidiff.metrics.overlap import dice_threshold
from hidiff.metrics.review import Review, flag_for_review, write_review
from hidiff.metrics.seeds import average_seeds, pair_arms
from hidiff.metrics.statistics import SignedRank, signed_rank
from hidiff.metrics.table import (
    Entry,
    Interval,
    Summary,
    summarise,
    write_csv,
    write_json,
)

__all__ = [
    "METRICS",
    "Entry",
    "Interval",
    "Metric",
    "Review",
    "SignedRank",
    "Summary",
    "average_seeds",
    "brier_score",
    "case_metrics",
    "dice_threshold",
    "expected_calibration_error",
    "flag_for_review",
    "markdown_table",
    "pair_arms",
    "signed_rank",
    "summarise",
    "write_csv",
    "write_json",
    "write_review",
]
