"""Results as text: titles, decimals, signs, a verdict, a Markdown table."""

from collections.abc import Sequence

from hidiff.metrics.bands import Band
from hidiff.metrics.known import KNOWN, higher_is_better
from hidiff.metrics.statistics import FEWEST_GROUPS, SignedRank
from hidiff.metrics.table import Entry, Interval, Summary

SIGNIFICANT = 0.05  # a smaller p is called significant
RESULT = ("prior", "refined", "difference [95 % CI]", "p")


def markdown_table(summary: Summary, *, metrics: Sequence[str] = ("dice",)) -> str:
    """Return a table to paste: prior, refined, their difference with its interval and test, and n.

    p is Wilcoxon's, with the groups whose difference is not zero; n all groups.
    """
    lines = [
        (class_name, metric_title(name, summary.unit), *result_cells(entry), summary.num_groups)
        for class_name in shown_classes(summary)
        for name in metrics
        for entry in [summary.entry(class_name, name)]
    ]
    return markdown(("class", "metric", *RESULT, "n"), lines) + f"\n{scale_words(summary)}\n"


def markdown_bands(bands: Sequence[Band], *, counted: str = "objects") -> str:
    """Return a table by size: a line for each class, band and metric, with its number of objects.

    n are the groups that hold any.
    """
    lines = [
        (
            band.class_name,
            band.name,
            metric_title(name, band.summary.unit),
            *result_cells(band.summary.entry(band.class_name, name)),
            band.count,
            band.summary.num_groups,
        )
        for band in bands
        for name in band.summary.metrics
    ]
    return markdown(("class", "size", "metric", *RESULT, counted, "n"), lines)


def result_cells(entry: Entry) -> tuple[str, str, str, str]:
    """Return the cells of RESULT."""
    return (
        format_mean(entry.metric, entry.prior),
        format_mean(entry.metric, entry.refined),
        format_interval(entry.metric, entry.difference, signed=True),
        format_test(entry.test),
    )


def markdown(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def scale_words(summary: Summary) -> str:
    """Return a sentence that says what was measured."""
    return f"Measured per {summary.per}, distances in {summary.unit}."


def shown_classes(summary: Summary) -> tuple[str, ...]:
    """Return the classes worth a line; the mean of a single class would only repeat it."""
    names = summary.class_names
    return names[:-1] if len(names) == 2 else names


def metric_name(name: str) -> str:
    """Return "Surface Dice" for "surface_dice"; a metric that KNOWN doesn't hold keeps its name."""
    return KNOWN[name].title if name in KNOWN else name


def metric_title(name: str, distance_unit: str = "px") -> str:
    """Return "Dice ↑" or "HD95 (px) ↓": the metric, its unit, and which way is better."""
    if name not in KNOWN:
        return name
    unit = f" ({distance_unit})" if KNOWN[name].unit == "distance" else ""
    return f"{KNOWN[name].title}{unit} {'↑' if higher_is_better(name) else '↓'}"


def format_mean(name: str, interval: Interval | None, *, signed: bool = False) -> str:
    """Write three decimals for a share, two for a distance, and a dash for nothing."""
    return "-" if interval is None else format_number(name, interval.mean, signed=signed)


def format_interval(name: str, interval: Interval | None, *, signed: bool = False) -> str:
    """Write a difference and its interval: "+0.012 [+0.004, +0.020]"."""
    if interval is None or interval.low is None or interval.high is None:
        return format_mean(name, interval, signed=signed)
    mean, low, high = (
        format_number(name, value, signed=signed)
        for value in (interval.mean, interval.low, interval.high)
    )
    return f"{mean} [{low}, {high}]"


def format_test(test: SignedRank | None) -> str:
    """Write "0.031 (n = 16)": a p never stands without its n."""
    if test is None:
        return "-"
    p = "<0.001" if test.p < 0.001 else f"{test.p:.3f}"
    return f"{p} (n = {test.n})"


def format_number(name: str, value: float, *, signed: bool = False) -> str:
    decimals = 2 if name in KNOWN and KNOWN[name].unit != "share" else 3
    text = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    # A difference that rounds to nothing has no direction.
    return text.lstrip("+-") if float(text) == 0 else text


def judge(entry: Entry) -> str:
    """Return the verdict on a difference: "better", "worse", "unclear", "few" or "".

    "unclear" means that the interval includes zero or that the test is not significant. "few" means
    that there are too few groups for a verdict. "" means that there is no interval.
    """
    difference = entry.difference
    if difference is None or difference.low is None or difference.high is None:
        return ""
    if difference.n is not None and difference.n < FEWEST_GROUPS:
        return "few"
    if difference.low <= 0 <= difference.high or (entry.test and entry.test.p >= SIGNIFICANT):
        return "unclear"
    if entry.metric not in KNOWN:
        return ""
    return "better" if (difference.low > 0) == higher_is_better(entry.metric) else "worse"
