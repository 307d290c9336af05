"""Several seeds of one experiment, and two experiments side by side, as rows for `summarise`."""

from collections.abc import Sequence

import numpy as np

from hidiff.metrics.table import KEYS, SOURCES, Row, metric_names, scale_of


def average_seeds(runs: Sequence[Sequence[Row]]) -> list[Row]:
    """Average the rows of several seeds: return each case's mean over seeds.

    So a group counts once, however many seeds were trained. Raises ValueError unless all judged
    the same cases, classes and sources by the same metrics.
    """
    if not runs:
        raise ValueError("there are no runs to average. Give the rows of one seed at least.")
    names = metric_names(runs[0])
    scale_of([row for rows in runs for row in rows])
    found = [{tuple(row[key] for key in KEYS): row for row in rows} for rows in runs]
    for number, each in enumerate(found[1:], start=2):
        if apart := each.keys() ^ found[0].keys():
            raise ValueError(
                f"run {number} and the first do not hold the same rows: {len(apart)} are in one "
                f"only, such as {min(apart, key=str)}. Judge all seeds on the same cases."
            )
        if sorted(metric_names(runs[number - 1])) != sorted(names):
            raise ValueError(f"run {number} has other metrics than the first. Judge them alike.")
    return [
        {
            **row,
            **{name: float(np.mean([each[key][name] for each in found])) for name in names},
        }
        for key, row in found[0].items()
    ]


def pair_arms(before: Sequence[Sequence[Row]], after: Sequence[Sequence[Row]]) -> list[Row]:
    """Return two arms as the prior and the refined rows of one summary; each is a list of seeds.

    Seeds are averaged first. Of an arm its refined rows count, or its prior's where nothing is
    refined. The summary's difference is then after - before, with interval and test over groups.
    """
    rows: list[Row] = []
    for source, runs in zip(SOURCES, (before, after), strict=True):
        averaged = average_seeds(runs)
        final = SOURCES[-1] if any(row["source"] == SOURCES[-1] for row in averaged) else SOURCES[0]
        rows += [{**row, "source": source} for row in averaged if row["source"] == final]
    return rows
