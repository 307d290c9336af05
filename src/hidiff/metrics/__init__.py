"""Numbers that say how good a mask is, and tables that say how sure we are."""

from hidiff.metrics.bands import Band, band_rows, size_edges, summarise_bands
from hidiff.metrics.calibration import (
    CALIBRATION,
    Reliability,
    brier_score,
    expected_calibration_error,
    reliability,
)
from hidiff.metrics.calibre import local_width
from hidiff.metrics.doubt import Doubt
from hidiff.metrics.masks import (
    METRICS,
    VOXEL_METRICS,
    MaskMetric,
    Metric,
    case_metrics,
    distance_unit,
)
from hidiff.metrics.objects import (
    OBJECT_METRICS,
    Objects,
    match_objects,
    object_metrics,
    size_unit,
)
from hidiff.metrics.overlap import dice_threshold
from hidiff.metrics.raters import RATER_METRICS, rater_metrics
from hidiff.metrics.review import Review, flag_for_review, write_review
from hidiff.metrics.seeds import average_seeds, pair_arms
from hidiff.metrics.statistics import FEWEST_GROUPS, SignedRank, signed_rank
from hidiff.metrics.table import Entry, Interval, Summary, summarise, write_csv, write_json

__all__ = [
    "CALIBRATION",
    "FEWEST_GROUPS",
    "METRICS",
    "OBJECT_METRICS",
    "RATER_METRICS",
    "VOXEL_METRICS",
    "Band",
    "Doubt",
    "Entry",
    "Interval",
    "MaskMetric",
    "Metric",
    "Objects",
    "Reliability",
    "Review",
    "SignedRank",
    "Summary",
    "average_seeds",
    "band_rows",
    "brier_score",
    "case_metrics",
    "dice_threshold",
    "distance_unit",
    "expected_calibration_error",
    "flag_for_review",
    "local_width",
    "match_objects",
    "object_metrics",
    "pair_arms",
    "rater_metrics",
    "reliability",
    "signed_rank",
    "size_edges",
    "size_unit",
    "summarise",
    "summarise_bands",
    "write_csv",
    "write_json",
    "write_review",
]
