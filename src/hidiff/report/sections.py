"""The tables of an evaluation's page: results by class, all metrics, sizes, cases and rules."""

from collections.abc import Sequence
from dataclasses import dataclass

from hidiff.evaluation.chosen import case_scores, choose_cases
from hidiff.metrics.bands import Band
from hidiff.metrics.masks import MaskMetric
from hidiff.metrics.table import MEAN, Entry, Row, Summary
from hidiff.report.format import (
    KNOWN,
    format_interval,
    format_mean,
    format_number,
    format_test,
    judge,
    metric_title,
    scale_words,
    shown_classes,
)

MOST_CASES = 500  # listed on the page; the CSV file has all


@dataclass(frozen=True)
class Difference:
    """A cell with a difference, and the verdict on it."""

    text: str
    verdict: str


@dataclass(frozen=True)
class Line:
    """A line of a table."""

    cells: tuple[str | Difference, ...]
    total: bool = False


@dataclass(frozen=True)
class Table:
    """A table of the page."""

    head: tuple[str, ...]
    lines: list[Line]


def unit_name(summary: Summary) -> str:
    """Return what n counts: groups (patients, slabs of a volume), or images that stand alone."""
    name = "image" if summary.num_cases == summary.num_groups else "group"
    return name if summary.num_groups == 1 else f"{name}s"


def results_table(summary: Summary, metric: str) -> Table:
    """Return the leading metric of each class."""
    head = ("class", "prior", "refined", "difference, 95 % interval", "p", "n")
    lines = []
    for name in shown_classes(summary):
        entry = summary.entry(name, metric)
        cells = (
            entry.class_name,
            format_mean(metric, entry.prior),
            format_mean(metric, entry.refined),
            difference_cell(entry),
            format_test(entry.test),
            str(summary.num_groups),
        )
        lines.append(Line(cells, total=name == MEAN))
    return Table(head, lines)


def metrics_table(summary: Summary) -> Table:
    """Return every metric of each class."""
    head = (
        "metric", "class", "prior, 95 % interval", "refined, 95 % interval", "difference", "p",
    )  # fmt: skip
    classes = shown_classes(summary)
    lines = []
    for metric in summary.metrics:
        for name in classes:
            entry = summary.entry(name, metric)
            cells = (
                metric_title(metric, summary.unit) if name == classes[0] else "",
                name,
                format_interval(metric, entry.prior),
                format_interval(metric, entry.refined),
                difference_cell(entry),
                format_test(entry.test),
            )
            lines.append(Line(cells, total=name == MEAN))
    return Table(head, lines)


def sizes_table(bands: Sequence[Band]) -> Table:
    """Return the metrics of each class and band of sizes."""
    head = (
        "class", "size", "metric", "prior", "refined", "difference, 95 % interval", "count", "n",
    )  # fmt: skip
    lines = []
    for band in bands:
        for metric in band.summary.metrics:
            entry = band.summary.entry(band.class_name, metric)
            first = metric == band.summary.metrics[0]
            cells = (
                band.class_name if first else "",
                band.name if first else "",
                metric_title(metric, band.summary.unit),
                format_interval(metric, entry.prior),
                format_interval(metric, entry.refined),
                difference_cell(entry),
                str(band.count),
                str(band.summary.num_groups),
            )
            lines.append(Line(cells))
    return Table(head, lines)


def cases_table(rows: Sequence[Row], metric: str) -> Table:
    """Return each case with its mean over classes, the worst first, at most MOST_CASES."""
    group_of = {row["case"]: row["group"] for row in rows}
    scores = case_scores(rows, metric)
    lines = []
    for name in list(choose_cases(rows, len(scores), metric=metric))[:MOST_CASES]:
        prior, refined = scores[name].get("prior"), scores[name].get("refined")
        values = ("-" if each is None else format_number(metric, each) for each in (prior, refined))
        change = "-"
        if prior is not None and refined is not None:
            change = format_number(metric, refined - prior, signed=True)
        lines.append(Line((name, str(group_of[name]), *values, change)))
    return Table(("case", "group", "prior", "refined", "difference"), lines)


def empty_masks_table(summary: Summary) -> Table:
    """Return the value of each metric where one mask or both are empty."""
    lines = []
    for name in summary.metrics:
        metric = KNOWN.get(name)
        if isinstance(metric, MaskMetric):
            one = "the image diagonal" if metric.one_empty is None else f"{metric.one_empty:g}"
            title = metric_title(name, summary.unit)
            lines.append(Line((title, f"{metric.both_empty:g}", one)))
    return Table(("metric", "both masks empty", "only one empty"), lines)


def difference_cell(entry: Entry) -> Difference:
    """Return the difference with its interval, and the verdict on it."""
    text = format_interval(entry.metric, entry.difference, signed=True)
    return Difference(text, judge(entry))


def rules(summary: Summary) -> list[str]:
    """Return sentences on means, intervals and tests."""
    unit = unit_name(summary)
    sentences = []
    if not unit.startswith("image"):
        sentences.append("Images of one group (a patient) are averaged first.")
    sentences.append(
        f"Means are over {unit}. A 95 % interval comes from {summary.num_resamples} bootstrap "
        f"draws of {unit} (seed {summary.seed}); that of a difference is paired."
    )
    if any(entry.test for entry in summary.entries):
        sentences.append(
            f"p is that of a two-sided Wilcoxon signed-rank test over {unit}, n the number of "
            "those with a difference other than zero. It is not corrected for the number of tests."
        )
    if summary.num_groups < 10:
        sentences.append("With fewer than about ten, intervals are too narrow.")
    sentences.append(
        "No case is left out: the table says how an empty mask counts. Pixels outside a field of "
        f"view are not counted. {scale_words(summary)}"
    )
    return sentences
