"""Test the paper's four claims on the rows: a number, its interval, n and a verdict by one rule."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hidiff.labels import MEAN
from hidiff.metrics import FEWEST_GROUPS, Interval
from hidiff.report.format import format_interval, metric_name
from hidiff.suites.rows import Results, Row
from hidiff.suites.suite import PLAIN, SEGMENTOR_ONLY, STAGE1
from research.pages.compare import (
    Gains,
    Pair,
    by_data,
    find_pairs,
    gains,
    mean_gains,
    paired_gap,
    unpaired_gap,
)

HOLDS, DOES_NOT, NOT_SHOWN = "holds", "does not hold", "not shown"
RULE = (
    "A claim holds on a line where the 95 % interval of its number lies above 0, and as a whole "
    f"where it holds on every line. Lines of fewer than {FEWEST_GROUPS} patients do not count."
)
CHEAP = 2.0  # "at little cost": at most this many times the segmentor's time per image
SIZE_METRICS = {"objects": "object_dice", "calibre": "sensitivity"}


@dataclass(frozen=True)
class ClaimResult:
    """The number and verdict of a claim for one data set and arm."""

    suite: str
    data: str
    arm: str
    seeds: int
    part: str
    """a class, other data, or a packed model; empty if there is only one"""
    number: str
    n: str
    verdict: str
    hardware: str


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, the number that tests it, and its results."""

    title: str
    measured: str
    results: tuple[ClaimResult, ...]

    @property
    def counted(self) -> list[ClaimResult]:
        """The results that have a verdict."""
        return [result for result in self.results if result.verdict != NOT_SHOWN]

    @property
    def verdict(self) -> str:
        """The verdict of the whole claim, by RULE."""
        if not self.counted:
            return NOT_SHOWN
        return HOLDS if all(result.verdict == HOLDS for result in self.counted) else DOES_NOT

    @property
    def count(self) -> str:
        """The number of results where the claim holds, as "2 of 3"."""
        return f"{sum(result.verdict == HOLDS for result in self.counted)} of {len(self.counted)}"


def judge_claims(suites: Sequence[Results]) -> list[Claim]:
    """Test all four claims on the rows of all suites."""
    return [better(suites), small(suites), unseen(suites), cheap(suites)]


def better(suites: Sequence[Results]) -> Claim:
    """Claim 1: refined masks beat the segmentor's."""
    results = []
    for pair in unique(find_all(suites, plain)):
        entry = pair.summary().entry(MEAN, "dice")
        number = show("dice", entry.difference)
        if entry.test is not None:
            number += f", p = {entry.test.p:.3g} (n = {entry.test.n})"
        n = f"{pair.after[0]['num_groups']} patients"
        results.append(make_result(pair, number, n, judge_interval(entry.difference)))
    return Claim(
        "Refined masks beat the segmentor's",
        "Dice less the rival's",
        tuple(results),
    )


def small(suites: Sequence[Results]) -> Claim:
    """Claim 2: the gain is largest on small objects.

    The gains in the smallest and largest band are paired over the cases that have both bands, or
    unpaired if fewer than FEWEST_GROUPS patients have both.
    """
    results = []
    for pair in unique([pair for pair in find_all(suites, plain) if pair.has_sizes]):
        metric = SIZE_METRICS[pair.after[0]["size_kind"]]
        classes = {}
        for (name, _), rows in pair.bands().items():
            classes.setdefault(name, []).append(rows)
        for name, bands in classes.items():
            large, little = (gains(bands[place], metric) for place in (-1, 0))
            gap = band_gap(large, little, metric) if len(bands) > 1 else None
            n = f"{len({row['group'] for row in bands[0]})} with any in the smallest band"
            n += "" if paired(large, little) else ", unpaired"
            results.append(make_result(pair, show(metric, gap), n, judge_interval(gap), name))
    return Claim(
        "They do so most on small objects",
        "gain in the smallest band of size less that in the largest",
        tuple(results),
    )


def band_gap(large: Gains, little: Gains, metric: str) -> Interval | None:
    """Compare the gain on small objects with that on large ones, paired if enough cases allow."""
    if paired(large, little):
        entry = paired_gap(large, little, metric)
        return entry.difference if entry else None
    return unpaired_gap(large, little, one_data_set=True) if large and little else None


def paired(large: Gains, little: Gains) -> bool:
    """Return True if enough patients have objects of both sizes."""
    return len({group for _, group in large.keys() & little.keys()}) >= FEWEST_GROUPS


def unseen(suites: Sequence[Results]) -> Claim:
    """Claim 3: the gain is largest on data from elsewhere."""
    results = []
    for home in find_all(suites, plain):
        arm = home.after[0]["arm"]
        others = [
            pair
            for pair in find_pairs(home.results, SEGMENTOR_ONLY, arm, out_of_domain)
            if (pair.data, pair.hardware, pair.seeds) == (home.data, home.hardware, home.seeds)
        ]
        own = gains(home.cases(), "dice")
        away: dict[str, list[Gains]] = {}
        for pair in others:
            away.setdefault(domain(pair.after[0]), []).append(gains(pair.cases(), "dice"))
        for name, sets in away.items():
            other = mean_gains(sets)
            if own.keys() == other.keys():
                entry = paired_gap(own, other, "dice")
                gap = entry.difference if entry else None
            else:
                gap = unpaired_gap(own, other)
            n = f"{len(other)} cases there, {len(own)} at home"
            results.append(make_result(home, show("dice", gap), n, judge_interval(gap), name))
    return Claim(
        "They do so most on unseen data",
        "gain on other or corrupted data less that on the own test set",
        tuple(results),
    )


def cheap(suites: Sequence[Results]) -> Claim:
    """Claim 4: refinement costs little time."""
    results = []
    kinds = (plain, lambda row: row["look"].get("packed", False))
    for pair in [pair for kind in kinds for pair in unique(find_all(suites, kind, before=STAGE1))]:
        before, after = (mean_seconds(rows) for rows in (pair.before, pair.after))
        ratio = after / before
        number = f"{ratio:.1f} times ({after:.3f} s against {before:.3f} s, medians)"
        part = "" if plain(pair.after[0]) else pair.evaluation
        n = f"{pair.after[0]['num_cases']} cases"
        verdict = HOLDS if ratio <= CHEAP else DOES_NOT
        results.append(make_result(pair, number, n, verdict, part))
    return Claim(
        "They do so at little cost",
        f"time at most {CHEAP:g} times the segmentor's",
        tuple(results),
    )


def mean_seconds(rows: Sequence[Row]) -> float:
    """Return the seconds per case, the mean over seeds."""
    return sum(row["seconds_per_case"] for row in rows) / len(rows)


def find_all(
    suites: Sequence[Results], wanted: Callable[[Row], bool], before: str = SEGMENTOR_ONLY
) -> list[Pair]:
    """Return the pairs of every refining arm with a rival, in every suite, by data set."""
    pairs = []
    for results in suites:
        rows = results.latest()
        arms = dict.fromkeys(row["arm"] for row in rows)
        of_suite = [
            pair
            for arm in arms
            if arm not in (STAGE1, SEGMENTOR_ONLY)
            for pair in find_pairs(results, before, arm, wanted)
        ]
        pairs += by_data(of_suite, rows)
    return pairs


def unique(pairs: Sequence[Pair]) -> list[Pair]:
    """Keep one pair of each recipe and arm, with the most seeds, as suites share runs."""
    kept: dict[tuple, Pair] = {}
    for pair in pairs:
        key = pair.after[0]["recipe"], pair.data, pair.after[0]["arm"], pair.hardware
        if key not in kept or len(pair.seeds) > len(kept[key].seeds):
            kept[key] = pair
    return list(kept.values())


def plain(row: Row) -> bool:
    """Return True for an evaluation on the recipe's own test split."""
    return row["evaluation"] == PLAIN


def out_of_domain(row: Row) -> bool:
    """Return True for an evaluation on other data or under a corruption."""
    return row["evaluation"] != PLAIN and ("data" in row["look"] or "corruption" in row["look"])


def domain(row: Row) -> str:
    """Return the name of the data. All corruptions together are one domain."""
    return "corrupted pictures" if "corruption" in row["look"] else row["evaluation"]


def make_result(pair: Pair, number: str, n: str, verdict: str, part: str = "") -> ClaimResult:
    suite, arm = (pair.after[0][name] for name in ("suite", "arm"))
    seeds = len(pair.seeds)
    return ClaimResult(suite, pair.data, arm, seeds, part, number, n, verdict, pair.hardware)


def show(metric: str, interval: Interval | None) -> str:
    """Return a difference with its interval as text."""
    if interval is None:
        return "too few cases"
    return f"{metric_name(metric)} {format_interval(metric, interval, signed=True)}"


def judge_interval(interval: Interval | None) -> str:
    """Return the verdict of one result, by RULE."""
    if interval is None or interval.low is None or (interval.n or 0) < FEWEST_GROUPS:
        return NOT_SHOWN
    return HOLDS if interval.low > 0 else DOES_NOT
