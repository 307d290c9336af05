"""Every metric by its name in rows and tables."""

from hidiff.metrics.calibration import CALIBRATION
from hidiff.metrics.masks import METRICS, VOXEL_METRICS, Metric
from hidiff.metrics.objects import OBJECT_METRICS
from hidiff.metrics.raters import RATER_METRICS

KNOWN: dict[str, Metric] = {
    **METRICS,
    **VOXEL_METRICS,
    **CALIBRATION,
    **OBJECT_METRICS,
    **RATER_METRICS,
}


def higher_is_better(name: str) -> bool:
    """Return whether larger values of a metric are better; a metric not in KNOWN counts as such."""
    return name not in KNOWN or KNOWN[name].better == "higher"
