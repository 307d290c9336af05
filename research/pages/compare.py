"""Two arms of a suite side by side: paired over patients, on one kind of hardware."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hidiff.labels import MEAN
from hidiff.metrics import Entry, Interval, Summary, average_seeds, pair_arms, summarise
from hidiff.metrics.table import KEYS, NUM_RESAMPLES
from hidiff.suites.rows import CaseRow, Results, Row, kind

Cases = list[CaseRow]


@dataclass(frozen=True)
class Pair:
    """One arm against another: the rows of the seeds that both have, on one kind of hardware."""

    results: Results
    data: str
    evaluation: str
    hardware: str
    before: tuple[Row, ...]
    after: tuple[Row, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(row["seed"] for row in self.after)

    def cases(self) -> Cases:
        """Rows of the single cases, the former arm's as prior, the latter's as refined."""
        read = self.results.cases
        return pair_arms([read(row) for row in self.before], [read(row) for row in self.after])

    def summary(self) -> Summary:
        return summarise(self.cases())

    def bands(self) -> dict[tuple[str, str], Cases]:
        """(class, band of sizes) -> the same of it, smallest band first."""
        before, after = (
            [by_band(self.results.cases(row, "sizes")) for row in rows]
            for rows in (self.before, self.after)
        )
        return {
            band: pair_arms([each[band] for each in before], [each[band] for each in after])
            for band in after[0]
        }

    @property
    def has_sizes(self) -> bool:
        return all(row["sizes"] for row in (*self.before, *self.after))


def find_pairs(
    results: Results,
    before: str,
    after: str,
    evaluations: Callable[[Row], bool] = lambda row: True,
) -> list[Pair]:
    """Every data set, evaluation and kind of hardware where both arms have a row of one seed."""
    found: dict[tuple, dict[str, dict[int, Row]]] = {}
    for row in results.latest():
        if row["arm"] in (before, after) and evaluations(row):
            # also the hash of the cases, else the two were not judged on the same
            place = row["data"], row["evaluation"], kind(row), row["judged_sha256"]
            found.setdefault(place, {}).setdefault(row["arm"], {})[row["seed"]] = row
    pairs = []
    for (data, evaluation, hardware, _), arms in found.items():
        seeds = sorted(arms.get(before, {}).keys() & arms.get(after, {}).keys())
        if seeds:
            first, second = (tuple(arms[arm][seed] for seed in seeds) for arm in (before, after))
            pairs.append(Pair(results, data, evaluation, hardware, first, second))
    return pairs


def by_data(pairs: Sequence[Pair], rows: Sequence[Row]) -> list[Pair]:
    """Data set by data set, as the rows come."""
    order = list(dict.fromkeys(row["data"] for row in rows))
    return sorted(pairs, key=lambda pair: order.index(pair.data))


def by_band(rows: Sequence[CaseRow]) -> dict[tuple[str, str], Cases]:
    """(class, band) -> its rows, smallest band first, as they were written."""
    found: dict[tuple[str, str], Cases] = {}
    for row in rows:
        found.setdefault((row["class"], row["band"]), []).append(dict(row))
    return found


def gains(cases: Sequence[CaseRow], metric: str) -> dict[tuple[str, str], float]:
    """(case, group) -> refined - prior, the mean over classes."""
    sources: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in cases:
        each = sources.setdefault((row["case"], str(row["group"])), {})
        each.setdefault(row["source"], []).append(row[metric])
    return {
        place: float(np.mean(each["refined"]) - np.mean(each["prior"]))
        for place, each in sources.items()
    }


def gain_rows(gained: dict[tuple[str, str], float], source: str, metric: str) -> Cases:
    """Gains as rows, so that `summarise` can set two of them side by side."""
    return [
        dict(zip((*KEYS, metric), (case, group, "gain", source, value), strict=True))
        for (case, group), value in gained.items()
    ]


def paired_gap(
    less: dict[tuple[str, str], float], more: dict[tuple[str, str], float], metric: str
) -> Entry | None:
    """Is the gain `more` above the gain `less` of the same cases? None without two of them."""
    both = less.keys() & more.keys()
    if len({group for _, group in both}) < 2:
        return None
    less, more = ({place: each[place] for place in sorted(both)} for each in (less, more))
    rows = gain_rows(less, "prior", metric) + gain_rows(more, "refined", metric)
    return summarise(rows).entry(MEAN, metric)


def unpaired_gap(
    less: dict[tuple[str, str], float],
    more: dict[tuple[str, str], float],
    one_data_set: bool = False,
    seed: int = 0,
) -> Interval:
    """The same of two sets of cases, whose groups are drawn apart. In `one_data_set` a group that
    is in both is one patient, and is drawn for both."""
    draws = np.random.default_rng(seed)
    means = [group_means(each) for each in (less, more)]
    both = {name for name in means[0] if one_data_set and name in means[1]}
    totals = np.zeros((2, NUM_RESAMPLES))
    for where in ((0,), (1,), (0, 1)):
        names = [name for name in means[where[0]] if (name in both) == (len(where) == 2)]
        if names:
            chance = np.full(len(names), 1 / len(names))
            times = draws.multinomial(len(names), chance, size=NUM_RESAMPLES)
            for one in where:
                totals[one] += times @ [means[one][name] for name in names]
    counts = [len(each) for each in means]
    sampled = totals / np.array(counts)[:, None]
    low, high = np.percentile(sampled[1] - sampled[0], [2.5, 97.5])
    gap = np.mean(list(means[1].values())) - np.mean(list(means[0].values()))
    return Interval(float(gap), float(low), float(high), n=min(counts))


def group_means(gained: dict[tuple[str, str], float]) -> dict[str, float]:
    """group -> mean over its cases."""
    groups: dict[str, list[float]] = {}
    for (_, group), value in gained.items():
        groups.setdefault(group, []).append(value)
    return {group: float(np.mean(values)) for group, values in groups.items()}


def single(results: Results, rows: Sequence[Row]) -> tuple[Summary, str]:
    """One arm's seeds averaged, and the source that is its answer."""
    averaged = average_seeds([results.cases(row) for row in rows])
    source = "refined" if any(row["source"] == "refined" for row in averaged) else "prior"
    return summarise(averaged), source
