"""From rows of single cases to means with intervals, and to files a person or program can read.

A row is a dictionary: "case", "group" (the patient), "class", "source" ("prior" or "refined"), and
any metrics by name. It may also say what a case is ("per": an image, a slice, a volume), what
distances are in ("unit": px, voxels, mm), and, where things are told apart by size (see `bands`),
the "band" or the "size", and the "count" of them.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from hidiff.labels import MEAN
from hidiff.metrics.statistics import SignedRank, signed_rank
from hidiff.weights import atomic_write

Row = dict[str, Any]
KEYS = ("case", "group", "class", "source")
SCALE = {"per": "image", "unit": "px"}  # what a row means that does not say it
NOT_METRICS = (*KEYS, *SCALE, "band", "size", "count")
SOURCES = ("prior", "refined")
NUM_RESAMPLES = 2000  # the interval's ends then move by about a tenth of their distance to the mean


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval; the ends are None where there is only one group."""

    mean: float
    low: float | None
    high: float | None
    n: int | None = None
    """groups it rests on, where that is known"""


@dataclass(frozen=True)
class Entry:
    """One metric of one class. `difference` is refined - prior; a source without rows is None."""

    class_name: str
    metric: str
    prior: Interval | None
    refined: Interval | None
    difference: Interval | None
    test: SignedRank | None = None
    """test of the difference, over groups; None without a difference, or only one group"""


@dataclass(frozen=True)
class Summary:
    """The summary of rows: means with intervals, and the number of cases behind them."""

    entries: tuple[Entry, ...]
    num_groups: int
    num_cases: int
    num_resamples: int
    seed: int
    per: str = SCALE["per"]
    """the kind of a case: an image, a slice, or a volume"""
    unit: str = SCALE["unit"]
    """unit of distances: px, voxels, or mm"""

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(entry.class_name for entry in self.entries))

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(entry.metric for entry in self.entries))

    def entry(self, class_name: str, metric: str) -> Entry:
        for entry in self.entries:
            if (entry.class_name, entry.metric) == (class_name, metric):
                return entry
        raise KeyError(
            f"no {metric!r} of class {class_name!r} here; there are the metrics "
            f"{', '.join(self.metrics)} of the classes {', '.join(self.class_names)}"
        )


def summarise(rows: Sequence[Row], *, seed: int = 0, num_resamples: int = NUM_RESAMPLES) -> Summary:
    """Mean and 95 % bootstrap interval per class, metric and source, and of refined - prior.

    Cases of one group are averaged first: slices of a patient are not independent, so it is groups
    that are drawn with replacement, and a mean is over groups. All columns share the draws, so the
    interval of the difference is a paired one. The class "mean" is each case's mean over classes.
    Percentile intervals from fewer than about ten groups come out too narrow. The test of the
    difference is Wilcoxon's, on the same means of groups.
    """
    names = metric_names(rows)
    classes, sources, values, groups = gather(rows, names)
    values = np.concatenate([values, values.mean(axis=1, keepdims=True)], axis=1)
    if set(sources) == set(SOURCES):
        prior, refined = (values[:, :, sources.index(source)] for source in SOURCES)
        values = np.concatenate([values, (refined - prior)[:, :, None]], axis=2)
        sources = [*sources, "difference"]

    by_group = np.stack([values[groups == group].mean(axis=0) for group in np.unique(groups)])
    lows, highs = bootstrap(by_group.reshape(len(by_group), -1), seed, num_resamples)
    shape, means = by_group.shape[1:], by_group.mean(axis=0)
    known = len(by_group) > 1

    def interval(index: tuple[int, int, int]) -> Interval:
        ends = (float(end.reshape(shape)[index]) if known else None for end in (lows, highs))
        return Interval(float(means[index]), *ends, n=len(by_group))

    def test(c: int, m: int) -> SignedRank | None:
        if "difference" not in sources or not known:
            return None
        return signed_rank(by_group[:, c, sources.index("difference"), m])

    entries = [
        Entry(
            class_name,
            name,
            **{
                column: interval((c, sources.index(column), m)) if column in sources else None
                for column in (*SOURCES, "difference")
            },
            test=test(c, m),
        )
        for c, class_name in enumerate([*classes, MEAN])
        for m, name in enumerate(names)
    ]
    return Summary(
        tuple(entries), len(by_group), len(values), num_resamples, seed, **scale_of(rows)
    )


def bootstrap(
    by_group: Float[np.ndarray, "n columns"], seed: int, num_resamples: int
) -> tuple[Float[np.ndarray, "columns"], Float[np.ndarray, "columns"]]:
    """Return the 2.5 % and 97.5 % points of the mean over groups drawn with replacement."""
    n = len(by_group)
    times_drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=num_resamples)
    low, high = np.percentile(times_drawn @ by_group / n, [2.5, 97.5], axis=0)
    return low, high


def metric_names(rows: Sequence[Row]) -> list[str]:
    """Return the metrics of these rows, which must all have the same."""
    if not rows:
        raise ValueError("there are no rows to summarise. Evaluate at least one case first.")
    for row in rows:
        if set(row) != set(rows[0]) or not set(KEYS) <= set(row):
            raise ValueError(
                f"the row of case {row.get('case')!r} has {sorted(row)}, but the first row has "
                f"{sorted(rows[0])}; every row must have the same columns, {', '.join(KEYS)} "
                "among them. Compute the same metrics for every case."
            )
    return [name for name in rows[0] if name not in NOT_METRICS]


def scale_of(rows: Sequence[Row]) -> dict[str, str]:
    """Return the unit of cases and of distances. Raises ValueError unless all rows agree."""
    found = {name: {row.get(name, usual) for row in rows} for name, usual in SCALE.items()}
    for name, values in found.items():
        if len(values) > 1:
            raise ValueError(
                f"{name!r} is {' in some rows and '.join(sorted(values))} in others; a mean over "
                "both would mean nothing. Summarise them apart, or measure all alike."
            )
    return {name: value for name, (value,) in found.items()}


def gather(
    rows: Sequence[Row], names: Sequence[str]
) -> tuple[list[str], list[str], Float[np.ndarray, "cases classes sources metrics"], np.ndarray]:
    """Return classes, sources, the values as one array, and the group of each case.

    A missing or endless value is an error, because a mean without it would look better than it is.
    """
    cases = list(dict.fromkeys(row["case"] for row in rows))
    classes = list(dict.fromkeys(row["class"] for row in rows))
    sources = list(dict.fromkeys(row["source"] for row in rows))
    if not set(sources) <= set(SOURCES):
        raise ValueError(f"sources are {sources}; they can only be {' and '.join(SOURCES)}.")
    if MEAN in classes:
        raise ValueError(f"a class is called {MEAN!r}, the name of the mean of all. Rename it.")
    found = {(row["case"], row["class"], row["source"]): row for row in rows}
    if len(found) < len(rows):
        raise ValueError(
            f"there are {len(rows)} rows, but only {len(found)} different ones by case, class and "
            "source. Give every case a name of its own."
        )
    values = np.empty((len(cases), len(classes), len(sources), len(names)))
    for index in np.ndindex(values.shape[:3]):
        key = cases[index[0]], classes[index[1]], sources[index[2]]
        if key not in found:
            raise ValueError(
                f"case {key[0]!r} has no {key[2]} row of class {key[1]!r}, and others have. "
                "Every case needs every class; an empty mask counts too (see case_metrics)."
            )
        values[index] = [found[key][name] for name in names]
        if not np.isfinite(values[index]).all():
            raise ValueError(f"case {key[0]!r}, {key[2]}, class {key[1]!r}: not a finite number")
    group_of = {row["case"]: str(row["group"]) for row in rows}
    return classes, sources, values, np.array([group_of[case] for case in cases])


def write_csv(rows: Sequence[Row], path: Path | str) -> None:
    """Write one line per case, class and source, with all digits."""
    columns = [name for name in NOT_METRICS if rows and name in rows[0]] + metric_names(rows)
    with (
        atomic_write(Path(path)) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(dict(row) for row in rows)


def write_json(summary: Summary, path: Path | str) -> None:
    """Write the whole summary with all digits; an unknown end of an interval is null."""
    text = json.dumps(asdict(summary), indent=2, allow_nan=False) + "\n"
    with atomic_write(Path(path)) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
