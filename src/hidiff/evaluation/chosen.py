"""Choose the cases that a report shows, by their scores."""

from collections.abc import Sequence

import numpy as np

from hidiff.metrics.known import higher_is_better
from hidiff.metrics.table import Row


def choose_cases(rows: Sequence[Row], count: int = 3, *, metric: str = "dice") -> dict[str, str]:
    """Choose cases to show, and call each "worst", "median" or "best"; a third each, worst first.

    Cases are ranked by the mean over classes of the refined mask's score, or of the prior's score
    if nothing was refined.
    """
    scores = case_scores(rows, metric)
    source = "refined" if any("refined" in each for each in scores.values()) else "prior"
    names = sorted(
        scores, key=lambda name: scores[name][source], reverse=not higher_is_better(metric)
    )
    count = min(count, len(names))
    num_worst, num_best = (count + 2) // 3, (count + 1) // 3
    between = names[num_worst : len(names) - num_best]
    num_median = count - num_worst - num_best
    start = (len(between) - num_median + 1) // 2
    return {
        **dict.fromkeys(names[:num_worst], "worst"),
        **dict.fromkeys(between[start : start + num_median], "median"),
        **dict.fromkeys(names[len(names) - num_best :], "best"),
    }


def case_scores(rows: Sequence[Row], metric: str) -> dict[str, dict[str, float]]:
    """Return the mean score over classes of each case, by case and source."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        found.setdefault(row["case"], {}).setdefault(row["source"], []).append(row[metric])
    return {
        case: {source: float(np.mean(values)) for source, values in sources.items()}
        for case, sources in found.items()
    }
