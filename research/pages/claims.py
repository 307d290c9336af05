"""The paper's four claims, each with our number, its interval, n, and a verdict by a rule."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hidiff.labels import MEAN
from hidiff.metrics import FEWEST_GROUPS, Interval
from hidiff.report.format import format_interval, metric_name
from hidiff.suites.rows import Results, Row
from hidiff.suites.suite import PLAIN, SEGMENTOR_ONLY, STAGE1
from research.pages.compare import Pair, by_data, find_pairs, gains, paired_gap, unpaired_gap

HOLDS, DOES_NOT, NOT_SHOWN = "holds", "does not hold", "not shown"
RULE = (
    "A claim holds on a data set, of an arm, where the 95 % interval of its number lies above 0; "
    "it holds as a whole where it holds on every data set and arm that was looked at. It does not "
    "hold where an interval contains 0 or lies below it. Without rows, or of an interval over "
    f"fewer than {FEWEST_GROUPS} patients, it is not shown."
)
CHEAP = 2.0  # "at little cost": at most so many times the segmentor's time an image
SIZE_METRICS = {"objects": "object_dice", "calibre": "sensitivity"}


@dataclass(frozen=True)
class Finding:
    """What one data set and arm say of a claim."""

    suite: str
    data: str
    arm: str
    seeds: int
    of: str
    """a class, other data, a packed model; nothing where there is no choice"""
    number: str
    n: str
    verdict: str
    hardware: str


@dataclass(frozen=True)
class Claim:
    """A claim, and what is found of it."""

    title: str
    measured: str
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        """By RULE."""
        looked_at = [each for each in self.findings if each.verdict != NOT_SHOWN]
        if not looked_at:
            return NOT_SHOWN
        return HOLDS if all(each.verdict == HOLDS for each in looked_at) else DOES_NOT

    @property
    def count(self) -> str:
        """ "on 2 of 3"."""
        held = sum(each.verdict == HOLDS for each in self.findings)
        return f"on {held} of {len(self.findings)}"


def judge_claims(suites: Sequence[Results]) -> list[Claim]:
    """All four, from the rows of every suite that is there."""
    return [better(suites), small(suites), unseen(suites), cheap(suites)]


def better(suites: Sequence[Results]) -> Claim:
    """1: refined masks beat the segmentor's."""
    findings = []
    for pair in unique(find_all(suites, plain)):
        entry = pair.summary().entry(MEAN, "dice")
        number = said("dice", entry.difference)
        if entry.test is not None:
            number += f", p = {entry.test.p:.3g} (n = {entry.test.n})"
        n = f"{pair.after[0]['num_groups']} patients"
        findings.append(found(pair, number, n, verdict(entry.difference)))
    return Claim(
        "Refined masks beat the segmentor's",
        "Dice of the arm less that of the segmentor trained on to the hybrid's FLOPs, which no arm "
        "exceeds; p is Wilcoxon's",
        tuple(findings),
    )


def small(suites: Sequence[Results]) -> Claim:
    """2: most on small objects."""
    findings = []
    for pair in unique([each for each in find_all(suites, plain) if each.has_sizes]):
        metric = SIZE_METRICS[pair.after[0]["size_kind"]]
        classes = {}
        for (name, _), rows in pair.bands().items():
            classes.setdefault(name, []).append(rows)
        for name, bands in classes.items():
            large, small = (gains(bands[place], metric) for place in (-1, 0))
            gap = band_gap(large, small, metric) if len(bands) > 1 else None
            n = f"{len({row['group'] for row in bands[0]})} with any in the smallest band"
            n += "" if paired(large, small) else ", unpaired"
            findings.append(found(pair, said(metric, gap), n, verdict(gap), name))
    return Claim(
        "They do so most on small objects",
        "gain in the smallest of three bands of size less the gain in the largest, over the cases "
        f"that have both, or, where fewer than {FEWEST_GROUPS} patients have, between those with "
        "one and those with the other (Dice of objects; sensitivity by calibre)",
        tuple(findings),
    )


def band_gap(
    large: dict[tuple[str, str], float], small: dict[tuple[str, str], float], metric: str
) -> Interval | None:
    """Is the gain on the small above that on the large? Paired where enough cases have both."""
    if paired(large, small):
        entry = paired_gap(large, small, metric)
        return entry.difference if entry else None
    return unpaired_gap(large, small, one_data_set=True) if large and small else None


def paired(large: dict[tuple[str, str], float], small: dict[tuple[str, str], float]) -> bool:
    return len({group for _, group in large.keys() & small.keys()}) >= FEWEST_GROUPS


def unseen(suites: Sequence[Results]) -> Claim:
    """3: most on data that were never seen."""
    findings = []
    for home in find_all(suites, plain):
        others = [
            pair
            for pair in find_pairs(
                home.results, SEGMENTOR_ONLY, home.after[0]["arm"], out_of_domain
            )
            if (pair.data, pair.hardware, pair.seeds) == (home.data, home.hardware, home.seeds)
        ]
        own = gains(home.cases(), "dice")
        away: dict[str, list[dict[tuple[str, str], float]]] = {}
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
            findings.append(found(home, said("dice", gap), n, verdict(gap), name))
    return Claim(
        "They do so most on data that were never seen",
        "gain in Dice out of the domain less the gain in it; of corruptions the mean over all",
        tuple(findings),
    )


def cheap(suites: Sequence[Results]) -> Claim:
    """4: at little cost."""
    findings = []
    kinds = (plain, lambda row: row["look"].get("packed", False))
    for pair in [one for kind in kinds for one in unique(find_all(suites, kind, before=STAGE1))]:
        before, after = (
            sum(row["seconds_per_case"] for row in rows) / len(rows)
            for rows in (pair.before, pair.after)
        )
        ratio = after / before
        number = f"{ratio:.1f} times ({after:.3f} s against {before:.3f} s, medians)"
        of = "" if plain(pair.after[0]) else pair.evaluation
        n = f"{pair.after[0]['num_cases']} cases"
        findings.append(found(pair, number, n, HOLDS if ratio <= CHEAP else DOES_NOT, of))
    return Claim(
        "They do so at little cost",
        f"time of a prediction against the segmentor's alone; little is at most {CHEAP:g} times",
        tuple(findings),
    )


def find_all(
    suites: Sequence[Results], wanted: Callable[[Row], bool], before: str = SEGMENTOR_ONLY
) -> list[Pair]:
    """The hybrid, with whatever settings, against a rival, in every suite; data set by data set."""
    pairs = []
    for results in suites:
        rows = results.latest()
        arms = dict.fromkeys(row["arm"] for row in rows)
        mine = [
            pair
            for arm in arms
            if arm not in (STAGE1, SEGMENTOR_ONLY)
            for pair in find_pairs(results, before, arm, wanted)
        ]
        pairs += by_data(mine, rows)
    return pairs


def unique(pairs: Sequence[Pair]) -> list[Pair]:
    """Suites share runs: of those of one recipe and arm, the first with the most seeds."""
    kept: dict[tuple, Pair] = {}
    for pair in pairs:
        key = pair.after[0]["recipe"], pair.data, pair.after[0]["arm"], pair.hardware
        if key not in kept or len(pair.seeds) > len(kept[key].seeds):
            kept[key] = pair
    return list(kept.values())


def plain(row: Row) -> bool:
    return row["evaluation"] == PLAIN


def out_of_domain(row: Row) -> bool:
    return row["evaluation"] != PLAIN and ("data" in row["look"] or "corruption" in row["look"])


def domain(row: Row) -> str:
    """All corruptions are one domain; another data set goes by its evaluation's name."""
    return "corrupted pictures" if "corruption" in row["look"] else row["evaluation"]


def mean_gains(sets: Sequence[dict[tuple[str, str], float]]) -> dict[tuple[str, str], float]:
    return {case: sum(each[case] for each in sets) / len(sets) for case in sets[0]}


def found(pair: Pair, number: str, n: str, judged: str, of: str = "") -> Finding:
    suite, arm = (pair.after[0][name] for name in ("suite", "arm"))
    seeds = len(pair.seeds)
    return Finding(suite, pair.data, arm, seeds, of, number, n, judged, pair.hardware)


def said(metric: str, interval: Interval | None) -> str:
    if interval is None:
        return "too few cases"
    return f"{metric_name(metric)} {format_interval(metric, interval, signed=True)}"


def verdict(interval: Interval | None) -> str:
    """By RULE, of one data set."""
    if interval is None or interval.low is None or (interval.n or 0) < FEWEST_GROUPS:
        return NOT_SHOWN
    return HOLDS if interval.low > 0 else DOES_NOT
