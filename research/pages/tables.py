"""The full tables of one suite, as lines of CSV files."""

import csv
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hidiff.labels import MEAN
from hidiff.metrics import Entry, Interval, summarise
from hidiff.report.format import shown_classes
from hidiff.suites.rows import Results, Row, kind
from hidiff.suites.suite import HYBRID, MAIN_ARMS, PLAIN, SEGMENTOR_ONLY, STAGE1
from hidiff.weights import atomic_write
from research.pages.claims import SIZE_METRICS, mean_seconds
from research.pages.compare import Pair, by_data, find_pairs, single, verdict

SHOWN = ("dice", "hd95", "sensitivity", "precision")
Line = dict[str, object]


def make_tables(results: Results) -> dict[str, list[Line]]:
    """Return every table of a suite that has lines, by name."""
    rows = results.latest()
    pairs = pairs_to_show(results)
    tables = {
        "training": training_table(rows),
        "scores": scores_table(results, rows),
        "differences": differences_table(pairs),
        "own_prior": own_prior_table(results, rows),
        "seeds": seeds_table(rows),
        "sizes": sizes_table([pair for pair in pairs if pair.before[0]["arm"] == SEGMENTOR_ONLY]),
        "corruptions": corruption_table(rows),
    }
    return {name: lines for name, lines in tables.items() if lines}


def write_table(lines: Sequence[Line], file: Path) -> None:
    """Write lines as CSV; the first line has all columns."""
    with (
        atomic_write(file) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as opened,
    ):
        writer = csv.DictWriter(opened, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def training_table(rows: Sequence[Row]) -> list[Line]:
    """Return the training budget of each arm; FLOPs and times are means over seeds."""
    lines: list[Line] = []
    for (data, arm, hardware), group in group_rows(on_own_test(rows), "data", "arm"):
        flops, seconds = (
            statistics.mean(sum(row[name].values()) for row in group)
            for name in ("flops", "train_seconds")
        )
        lines.append(
            {
                "data": data,
                "arm": arm,
                "seeds": seeds_of(group),
                "steps": " + ".join(str(count) for count in group[0]["steps"].values()),
                "images": sum(group[0]["images"].values()),
                "PFLOP": f"{flops / 1e15:.3f}",
                "training_minutes": f"{seconds / 60:.1f}",
                "seconds_per_case": f"{mean_seconds(group):.3f}",
                "hardware": hardware,
            }
        )
    return lines


def scores_table(results: Results, rows: Sequence[Row]) -> list[Line]:
    """Return the scores of each arm, averaged over seeds."""
    lines: list[Line] = []
    for (data, evaluation, arm, hardware), group in group_rows(
        not_corrupted(rows), "data", "evaluation", "arm"
    ):
        summary, source = single(results, group)
        for name in shown_classes(summary):
            for metric in SHOWN[:2]:
                lines.append(
                    {
                        "data": data,
                        "evaluation": evaluation,
                        "arm": arm,
                        "seeds": seeds_of(group),
                        "class": name,
                        "metric": metric,
                        **cells(getattr(summary.entry(name, metric), source)),
                        "unit": summary.unit,
                        "n": summary.num_groups,
                        "hardware": hardware,
                    }
                )
    return lines


def differences_table(pairs: Sequence[Pair]) -> list[Line]:
    """Return the differences between arms, paired over patients."""
    lines: list[Line] = []
    for pair in pairs:
        summary = pair.summary()
        for name in shown_classes(summary):
            for metric in SHOWN:
                entry = summary.entry(name, metric)
                lines.append(
                    {
                        **pair_cells(pair),
                        "class": name,
                        "metric": metric,
                        **entry_cells(entry),
                        "n": summary.num_groups,
                        "hardware": pair.hardware,
                    }
                )
    return lines


def own_prior_table(results: Results, rows: Sequence[Row]) -> list[Line]:
    """Return the gain in Dice of each arm over the prior of its own segmentor."""
    lines: list[Line] = []
    for (data, evaluation, arm, hardware), group in group_rows(
        not_corrupted(rows), "data", "evaluation", "arm"
    ):
        summary, source = single(results, group)
        if source == "refined":
            lines.append(
                {
                    "data": data,
                    "evaluation": evaluation,
                    "arm": arm,
                    "seeds": seeds_of(group),
                    **entry_cells(summary.entry(MEAN, "dice")),
                    "n": summary.num_groups,
                    "hardware": hardware,
                }
            )
    return lines


def seeds_table(rows: Sequence[Row]) -> list[Line]:
    """Return the spread of Dice over seeds, for arms with several."""
    lines: list[Line] = []
    for (data, arm, hardware), group in group_rows(on_own_test(rows), "data", "arm"):
        if len(group) > 1:
            values = [final_dice(row) for row in group]
            numbers = {
                "mean_dice": statistics.mean(values),
                "standard_deviation": statistics.stdev(values),
                "lowest": min(values),
                "highest": max(values),
            }
            shown = {name: f"{value:.4f}" for name, value in numbers.items()}
            seeds = seeds_of(group)
            lines.append({"data": data, "arm": arm, "seeds": seeds, **shown, "hardware": hardware})
    return lines


def sizes_table(pairs: Sequence[Pair]) -> list[Line]:
    """Return the differences between arms by size of objects or calibre of vessels."""
    return [
        {
            **pair_cells(pair),
            "class": name,
            "size": band,
            "metric": entry.metric,
            **entry_cells(entry),
            "n": n,
            "hardware": pair.hardware,
        }
        for pair in pairs
        for (name, band), entry, n in band_entries(pair)
    ]


def band_entries(pair: Pair) -> Iterator[tuple[tuple[str, str], Entry, int]]:
    """Yield (class, band), entry and n of every band and metric, if sizes were measured."""
    if not pair.has_sizes:
        return
    metrics = [SIZE_METRICS[pair.after[0]["size_kind"]]]
    if pair.after[0]["size_kind"] == "objects":
        metrics = ["object_recall", *metrics]
    for band, rows in pair.bands().items():
        summary = summarise(rows)
        for metric in metrics:
            yield band, summary.entry(band[0], metric), summary.num_groups


def corruption_table(rows: Sequence[Row]) -> list[Line]:
    """Return the mean Dice of each arm under each corruption, by strength; 0 is none."""
    plain = {key: mean_dice(group) for key, group in group_rows(on_own_test(rows), "data", "arm")}
    corrupted = [row for row in rows if "corruption" in row["look"]]
    lines: dict[tuple, Line] = {}
    for (data, arm, _, hardware), group in group_rows(corrupted, "data", "arm", "evaluation"):
        look = group[0]["look"]
        if (data, arm, hardware) not in plain:
            continue
        line = lines.setdefault(
            (data, look["corruption"], arm, hardware),
            {
                "data": data,
                "corruption": look["corruption"],
                "arm": arm,
                "hardware": hardware,
                "dice_0": number(plain[data, arm, hardware]),
            },
        )
        line[f"dice_{look.get('strength', 1)}"] = number(mean_dice(group))
    return list(lines.values())


def mean_dice(rows: Sequence[Row]) -> float:
    return statistics.mean(map(final_dice, rows))


def pairs_to_show(results: Results) -> list[Pair]:
    """Return the pairs of arms that are compared, each kind of them by data set.

    Every refining arm is compared with segmentor_only, the hybrid with stage 1, and every other
    arm with the hybrid.
    """
    rows = results.latest()
    others = tuple(dict.fromkeys(row["arm"] for row in rows if row["arm"] not in MAIN_ARMS))
    pairs = []
    for before, arms in (
        (SEGMENTOR_ONLY, (HYBRID, *others)),
        (STAGE1, (HYBRID,)),
        (HYBRID, others),
    ):
        of_kind = [
            pair
            for after in arms
            for pair in find_pairs(results, before, after, lambda r: "corruption" not in r["look"])
        ]
        pairs += by_data(of_kind, rows)
    return pairs


def not_compared(results: Results) -> list[str]:
    """Return a sentence for each arm that has no rival on the same hardware, cases and seeds."""
    rows = results.latest()
    refining = dict.fromkeys(
        row["arm"] for row in rows if row["arm"] not in (STAGE1, SEGMENTOR_ONLY)
    )
    paired = {
        (pair.data, pair.evaluation, arm)
        for arm in refining
        for pair in find_pairs(results, SEGMENTOR_ONLY, arm)
    }
    hardware: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        hardware.setdefault((row["data"], row["evaluation"]), {})[row["arm"]] = kind(row)
    return [
        f"{data}, {evaluation}: not compared, as {SEGMENTOR_ONLY} was measured on "
        f"{arms[SEGMENTOR_ONLY]}, and {arm} on {arms[arm]}, or on other cases or seeds."
        for (data, evaluation), arms in hardware.items()
        for arm in refining
        if {arm, SEGMENTOR_ONLY} <= arms.keys() and (data, evaluation, arm) not in paired
    ]


def group_rows(rows: Iterable[Row], *names: str) -> Iterator[tuple[tuple, list[Row]]]:
    """Yield rows with equal values of `names` and equal hardware, with these values."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault((*(row[name] for name in names), kind(row)), []).append(row)
    yield from groups.items()


def on_own_test(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of evaluations on the recipe's own test split."""
    return [row for row in rows if row["evaluation"] == PLAIN]


def not_corrupted(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of evaluations on images as they are."""
    return [row for row in rows if "corruption" not in row["look"]]


def seeds_of(rows: Sequence[Row]) -> str:
    return " ".join(str(row["seed"]) for row in rows)


def final_dice(row: Row) -> float:
    """Return the mean Dice of the refined masks, or of the prior if nothing is refined."""
    sources = row["metrics"][MEAN]["dice"]
    mean, _, _ = sources.get("refined", sources["prior"])
    return mean


def pair_cells(pair: Pair) -> Line:
    return {
        "data": pair.data,
        "evaluation": pair.evaluation,
        "difference": pair.title,
        "seeds": seeds_of(pair.after),
    }


def entry_cells(entry: Entry) -> Line:
    """Return both means, the difference with its interval, p, and the verdict."""
    return {
        "before": number(entry.prior.mean if entry.prior else None),
        "after": number(entry.refined.mean if entry.refined else None),
        **cells(entry.difference),
        "wilcoxon_p": f"{entry.test.p:.3g}" if entry.test else "",
        "verdict": verdict(entry),
    }


def cells(interval: Interval | None) -> Line:
    """Return a mean and the ends of its 95 % interval."""
    values = (interval.mean, interval.low, interval.high) if interval else (None, None, None)
    return dict(zip(("mean", "low", "high"), map(number, values), strict=True))


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
