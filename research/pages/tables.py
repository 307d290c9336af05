"""The tables of a results page, in Markdown, each out of the rows of one suite and hardware."""

import statistics
from collections.abc import Iterable, Iterator, Sequence

from hidiff.labels import MEAN
from hidiff.metrics import Entry, summarise
from hidiff.report.format import (
    format_interval,
    format_mean,
    format_test,
    markdown,
    metric_title,
    shown_classes,
)
from hidiff.suites.rows import Results, Row, kind
from hidiff.suites.suite import HYBRID, MAIN_ARMS, PLAIN, SEGMENTOR_ONLY, STAGE1
from research.pages.claims import SIZE_METRICS
from research.pages.compare import Pair, by_data, find_pairs, single

SHOWN = ("dice", "hd95", "sensitivity", "precision")


def group_rows(rows: Iterable[Row], *names: str) -> dict[tuple, list[Row]]:
    """Rows that say the same of `names`, together."""
    found: dict[tuple, list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return found


def budget_table(rows: Sequence[Row]) -> str:
    """What each arm's training was; of several seeds the mean."""
    head = ("data", "arm", "seeds", "steps", "images", "PFLOP", "minutes", "seconds a case")
    lines = []
    for (data, arm), each in group_rows(at_home(rows), "data", "arm").items():
        flops, seconds = (
            statistics.mean(sum(row[name].values()) for row in each)
            for name in ("flops", "train_seconds")
        )
        images = sum(each[0]["images"].values())
        steps = " + ".join(str(count) for count in each[0]["steps"].values())
        cost = statistics.mean(row["seconds_per_case"] for row in each)
        lines.append(
            (
                data,
                arm,
                seeds_of(each),
                steps,
                f"{images:,}",
                f"{flops / 1e15:.3f}",
                f"{seconds / 60:.1f}",
                f"{cost:.3f}",
            )
        )
    return markdown(head, lines)


def scores_table(results: Results, rows: Sequence[Row]) -> str:
    """Every arm's own numbers: means with intervals, seeds averaged."""
    head = ("data", "judged on", "arm", "seeds", "class", "Dice ↑", "HD95 ↓", "in", "n")
    lines = []
    for (data, evaluation, arm), each in group_rows(
        (row for row in rows if "corruption" not in row["look"]), "data", "evaluation", "arm"
    ).items():
        summary, source = single(results, each)
        for name in shown_classes(summary):
            cells = [
                format_interval(metric, getattr(summary.entry(name, metric), source))
                for metric in SHOWN[:2]
            ]
            lines.append(
                (
                    data,
                    evaluation,
                    arm,
                    seeds_of(each),
                    name,
                    *cells,
                    summary.unit,
                    summary.num_groups,
                )
            )
    return markdown(head, lines)


def differences_table(pairs: Sequence[Pair]) -> str:
    """After less before, paired over patients."""
    head = ("data", "judged on", "difference", "seeds", "class", "metric", "before", "after",
            "after - before [95 % CI]", "Wilcoxon p", "n")  # fmt: skip
    lines = []
    for pair in pairs:
        summary = pair.summary()
        title = f"{pair.after[0]['arm']} - {pair.before[0]['arm']}"
        for name in shown_classes(summary):
            for metric in SHOWN:
                entry = summary.entry(name, metric)
                lines.append(
                    (
                        pair.data,
                        pair.evaluation,
                        title,
                        seeds_of(pair.after),
                        name,
                        metric_title(metric, summary.unit),
                        format_mean(metric, entry.prior),
                        format_mean(metric, entry.refined),
                        format_interval(metric, entry.difference, signed=True),
                        format_test(entry.test),
                        summary.num_groups,
                    )
                )
    return markdown(head, lines)


def own_prior_table(results: Results, rows: Sequence[Row]) -> str:
    """What refinement adds to the mask of its own segmentor, which was trained with it."""
    head = ("data", "judged on", "arm", "seeds", "prior", "refined", "refined - prior [95 % CI]",
            "Wilcoxon p", "n")  # fmt: skip
    lines = []
    for (data, evaluation, arm), each in group_rows(rows, "data", "evaluation", "arm").items():
        summary, source = single(results, each)
        if source == "refined" and "corruption" not in each[0]["look"]:
            entry = summary.entry(MEAN, "dice")
            lines.append(
                (
                    data,
                    evaluation,
                    arm,
                    seeds_of(each),
                    format_mean("dice", entry.prior),
                    format_mean("dice", entry.refined),
                    format_interval("dice", entry.difference, signed=True),
                    format_test(entry.test),
                    summary.num_groups,
                )
            )
    return markdown(head, lines) if lines else ""


def seeds_table(rows: Sequence[Row]) -> str:
    """The spread over seeds, where there are several."""
    head = ("data", "arm", "seeds", "mean Dice", "standard deviation", "lowest", "highest")
    lines = []
    for (data, arm), each in group_rows(at_home(rows), "data", "arm").items():
        if len(each) > 1:
            values = [final_dice(row) for row in each]
            numbers = (statistics.mean(values), statistics.stdev(values), min(values), max(values))
            lines.append((data, arm, seeds_of(each), *(f"{value:.4f}" for value in numbers)))
    return markdown(head, lines) if lines else ""


def sizes_table(pairs: Sequence[Pair]) -> str:
    """The same by size, where it was measured."""
    head = ("data", "judged on", "arm", "seeds", "class", "size", "metric", "before", "after",
            "after - before [95 % CI]", "Wilcoxon p", "n")  # fmt: skip
    lines = []
    for pair in pairs:
        for (name, band), entry, n in band_entries(pair):
            metric = entry.metric
            lines.append(
                (
                    pair.data,
                    pair.evaluation,
                    pair.after[0]["arm"],
                    seeds_of(pair.after),
                    name,
                    band,
                    metric_title(metric),
                    format_mean(metric, entry.prior),
                    format_mean(metric, entry.refined),
                    format_interval(metric, entry.difference, signed=True),
                    format_test(entry.test),
                    n,
                )
            )
    return markdown(head, lines) if lines else ""


def band_entries(pair: Pair) -> Iterator[tuple[tuple[str, str], Entry, int]]:
    """(class, band), entry, n of every band and metric, where sizes were measured."""
    if not pair.has_sizes:
        return
    metrics = [SIZE_METRICS[pair.after[0]["size_kind"]]]
    if pair.after[0]["size_kind"] == "objects":
        metrics = ["object_recall", *metrics]
    for place, rows in pair.bands().items():
        summary = summarise(rows)
        for metric in metrics:
            yield place, summary.entry(place[0], metric), summary.num_groups


def pairs_to_show(results: Results, hardware: str) -> list[Pair]:
    """Hybrid and every other arm against the rival of equal budget, hybrid against stage 1, and
    every other arm against the hybrid; of each of the three data set by data set."""
    rows = results.latest()
    others = tuple(dict.fromkeys(row["arm"] for row in rows if row["arm"] not in MAIN_ARMS))
    shown = []
    for before, arms in (
        (SEGMENTOR_ONLY, (HYBRID, *others)),
        (STAGE1, (HYBRID,)),
        (HYBRID, others),
    ):
        pairs = [
            pair
            for after in arms
            for pair in find_pairs(results, before, after, lambda r: "corruption" not in r["look"])
            if pair.hardware == hardware
        ]
        shown += by_data(pairs, rows)
    return shown


def apart(results: Results) -> list[str]:
    """Data and evaluations where an arm and its rival were measured on different hardware alone."""
    rows, found = results.latest(), []
    refining = [arm for (arm,) in group_rows(rows, "arm") if arm not in (STAGE1, SEGMENTOR_ONLY)]
    paired = {
        (pair.data, pair.evaluation, arm)
        for arm in refining
        for pair in find_pairs(results, SEGMENTOR_ONLY, arm)
    }
    for (data, evaluation), each in group_rows(rows, "data", "evaluation").items():
        kinds_of = {row["arm"]: kind(row) for row in each}
        for arm in [arm for arm in refining if {arm, SEGMENTOR_ONLY} <= kinds_of.keys()]:
            if (data, evaluation, arm) not in paired:
                found.append(
                    f"{data}, {evaluation}: not compared, as {SEGMENTOR_ONLY} was measured on "
                    f"{kinds_of[SEGMENTOR_ONLY]}, and {arm} on {kinds_of[arm]}, other cases or "
                    "seeds."
                )
    return found


def at_home(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["evaluation"] == PLAIN]


def seeds_of(rows: Sequence[Row]) -> str:
    return ", ".join(str(row["seed"]) for row in rows)


def final_dice(row: Row) -> float:
    """Of the refined masks, or of the prior's where nothing is refined; the mean over classes."""
    sources = row["metrics"][MEAN]["dice"]
    mean, _, _ = sources.get("refined", sources["prior"])
    return mean
