"""Compare two arms of a suite: paired over patients, on one kind of hardware."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hidiff.labels import MEAN
from hidiff.metrics import Entry, Interval, Summary, average_seeds, pair_arms, summarise
from hidiff.metrics.table import KEYS, NUM_RESAMPLES
from hidiff.report.format import judge
from hidiff.suites.rows import CaseRow, Results, Row, kind

Cases = list[CaseRow]
Gains = dict[tuple[str, str], float]  # (case, group) -> refined - prior
VERDICTS = {
    "better": "better",
    "worse": "worse",
    "unclear": "not significant",
    "few": "too few patients",
    "": "no interval",
}


@dataclass(frozen=True)
class Pair:
    """Two arms, with the rows of the seeds that both have, on one kind of hardware."""

    results: Results
    data: str
    evaluation: str
    hardware: str
    before: tuple[Row, ...]
    after: tuple[Row, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(row["seed"] for row in self.after)

    @property
    def title(self) -> str:
        return f"{self.after[0]['arm']} - {self.before[0]['arm']}"

    def cases(self) -> Cases:
        """Return scores of single cases, with the first arm as prior and the second as refined."""
        read = self.results.cases
        return pair_arms([read(row) for row in self.before], [read(row) for row in self.after])

    def summary(self) -> Summary:
        return summarise(self.cases())

    def bands(self) -> dict[tuple[str, str], Cases]:
        """Return the scores of each (class, band of sizes), smallest band first."""
        before, after = (
            [by_band(self.results.cases(row, "sizes")) for row in rows]
            for rows in (self.before, self.after)
        )
        return {
            band: pair_arms([seed[band] for seed in before], [seed[band] for seed in after])
            for band in after[0]
        }

    @property
    def has_sizes(self) -> bool:
        return all(row["sizes"] for row in (*self.before, *self.after))


def find_pairs(
    results: Results,
    before: str,
    after: str,
    wanted: Callable[[Row], bool] = lambda row: True,
) -> list[Pair]:
    """Return a pair for each data set, evaluation and hardware where both arms share a seed."""
    arms_of: dict[tuple, dict[str, dict[int, Row]]] = {}
    for row in results.latest():
        if row["arm"] in (before, after) and wanted(row):
            # The hash of the cases too: without it, arms evaluated on other cases would be paired.
            key = row["data"], row["evaluation"], kind(row), row["judged_sha256"]
            arms_of.setdefault(key, {}).setdefault(row["arm"], {})[row["seed"]] = row
    pairs = []
    for (data, evaluation, hardware, _), arms in arms_of.items():
        seeds = sorted(arms.get(before, {}).keys() & arms.get(after, {}).keys())
        if seeds:
            first, second = (tuple(arms[arm][seed] for seed in seeds) for arm in (before, after))
            pairs.append(Pair(results, data, evaluation, hardware, first, second))
    return pairs


def the_pair(results: Results, data: str, arm: str, rival: str, evaluation: str) -> Pair:
    """Return the one pair of these names. Raises KeyError if there is none, or are several."""
    pairs = find_pairs(
        results, rival, arm, lambda row: (row["data"], row["evaluation"]) == (data, evaluation)
    )
    if len(pairs) != 1:
        raise KeyError(
            f"{results.folder} has {len(pairs)} pairs of {arm} and {rival} on {data} "
            f"({evaluation}), but one is wanted"
        )
    return pairs[0]


def by_data(pairs: Sequence[Pair], rows: Sequence[Row]) -> list[Pair]:
    """Sort pairs by data set, in the order of the rows."""
    order = list(dict.fromkeys(row["data"] for row in rows))
    return sorted(pairs, key=lambda pair: order.index(pair.data))


def by_band(rows: Sequence[CaseRow]) -> dict[tuple[str, str], Cases]:
    """Return the rows of each (class, band) in the order of the file: smallest band first."""
    bands: dict[tuple[str, str], Cases] = {}
    for row in rows:
        bands.setdefault((row["class"], row["band"]), []).append(dict(row))
    return bands


def single(results: Results, rows: Sequence[Row]) -> tuple[Summary, str]:
    """Average the seeds of one arm. Return the summary, and the source that is its answer."""
    averaged = average_seeds([results.cases(row) for row in rows])
    source = "refined" if any(row["source"] == "refined" for row in averaged) else "prior"
    return summarise(averaged), source


def verdict(entry: Entry) -> str:
    """Return what follows from a difference and its interval, in the words of VERDICTS."""
    return VERDICTS[judge(entry)]


def gains(cases: Sequence[CaseRow], metric: str) -> Gains:
    """Return the gain of each case, the mean over classes."""
    scores: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in cases:
        by_source = scores.setdefault((row["case"], str(row["group"])), {})
        by_source.setdefault(row["source"], []).append(row[metric])
    return {
        case: float(np.mean(by_source["refined"]) - np.mean(by_source["prior"]))
        for case, by_source in scores.items()
    }


def mean_gains(sets: Sequence[Gains]) -> Gains:
    """Return the mean gain of each case over several evaluations."""
    return {case: sum(gained[case] for gained in sets) / len(sets) for case in sets[0]}


def gain_rows(gained: Gains, source: str, metric: str) -> Cases:
    """Return gains as rows, so that `summarise` can compare two sets of gains."""
    return [
        dict(zip((*KEYS, metric), (case, group, "gain", source, value), strict=True))
        for (case, group), value in gained.items()
    ]


def paired_gap(less: Gains, more: Gains, metric: str) -> Entry | None:
    """Compare two gains of the same cases; None if these are fewer than two patients."""
    both = less.keys() & more.keys()
    if len({group for _, group in both}) < 2:
        return None
    less, more = ({case: gained[case] for case in sorted(both)} for gained in (less, more))
    rows = gain_rows(less, "prior", metric) + gain_rows(more, "refined", metric)
    return summarise(rows).entry(MEAN, metric)


def unpaired_gap(less: Gains, more: Gains, one_data_set: bool = False, seed: int = 0) -> Interval:
    """Compare two gains of different cases by a bootstrap that draws the groups of each set.

    In `one_data_set`, a group of both sets is one patient, and is drawn for both together.
    """
    draws = np.random.default_rng(seed)
    means = [group_means(gained) for gained in (less, more)]
    both = {name for name in means[0] if one_data_set and name in means[1]}
    totals = np.zeros((2, NUM_RESAMPLES))
    for sides in ((0,), (1,), (0, 1)):
        names = [name for name in means[sides[0]] if (name in both) == (len(sides) == 2)]
        if names:
            chance = np.full(len(names), 1 / len(names))
            times = draws.multinomial(len(names), chance, size=NUM_RESAMPLES)
            for side in sides:
                totals[side] += times @ [means[side][name] for name in names]
    counts = [len(groups) for groups in means]
    sampled = totals / np.array(counts)[:, None]
    low, high = np.percentile(sampled[1] - sampled[0], [2.5, 97.5])
    gap = np.mean(list(means[1].values())) - np.mean(list(means[0].values()))
    return Interval(float(gap), float(low), float(high), n=min(counts))


def group_means(gained: Gains) -> dict[str, float]:
    """Return the mean gain of each group over its cases."""
    groups: dict[str, list[float]] = {}
    for (_, group), value in gained.items():
        groups.setdefault(group, []).append(value)
    return {group: float(np.mean(values)) for group, values in groups.items()}
