"""How results are put into words: titles, decimals, signs, a verdict, a Markdown table."""

from collections.abc import Sequence

from hidiff.metrics.masks import METRICS
from hidiff.metrics.statistics import SignedRank
from hidiff.metrics.table import Entry, Interval, Summary


def markdown_table(
    summary: Summary, *, metrics: Sequence[str] = ("dice",), distance_unit: str = "px"
) -> str:
    """A table to paste: prior, refined, their difference with its interval and test, and n.

    p is Wilcoxon's, with the groups whose difference is not zero; n all groups.
    """
    lines = [
        "| class | metric | prior | refined | difference [95 % CI] | p | n |",
        "|---|---|---|---|---|---|---|",
    ]
    for class_name in shown_classes(summary):
        for name in metrics:
            entry = summary.entry(class_name, name)
            cells = [
                class_name.replace("|", "\\|"),
                metric_title(name, distance_unit),
                format_mean(name, entry.prior),
                format_mean(name, entry.refined),
                format_interval(name, entry.difference, signed=True),
                format_test(entry.test),
                str(summary.num_groups),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def shown_classes(summary: Summary) -> tuple[str, ...]:
    """The classes worth a line: the mean of one class alone would only repeat it."""
    names = summary.class_names
    return names[:-1] if len(names) == 2 else names


def metric_name(name: str) -> str:
    """ "Surface Dice" of "surface_dice"; a metric that METRICS doesn't know keeps its name."""
    return METRICS[name].title if name in METRICS else name


def metric_title(name: str, distance_unit: str = "px") -> str:
    """ "Dice ↑", "HD95 (px) ↓": what it is, its unit, and which way is better."""
    if name not in METRICS:
        return name
    unit = f" ({distance_unit})" if METRICS[name].unit == "distance" else ""
    return f"{METRICS[name].title}{unit} {'↑' if higher_is_better(name) else '↓'}"


def format_mean(name: str, interval: Interval | None, *, signed: bool = False) -> str:
    """Three decimals for a share, two for a distance; a dash where there is nothing."""
    return "-" if interval is None else format_number(name, interval.mean, signed=signed)


def format_interval(name: str, interval: Interval | None, *, signed: bool = False) -> str:
    """ "+0.012 [+0.004, +0.020]"."""
    if interval is None or interval.low is None or interval.high is None:
        return format_mean(name, interval, signed=signed)
    mean, low, high = (
        format_number(name, value, signed=signed)
        for value in (interval.mean, interval.low, interval.high)
    )
    return f"{mean} [{low}, {high}]"


def format_test(test: SignedRank | None) -> str:
    """ "0.031 (n = 16)": never a p without what it rests on."""
    if test is None:
        return "-"
    p = "<0.001" if test.p < 0.001 else f"{test.p:.3f}"
    return f"{p} (n = {test.n})"


def format_number(name: str, value: float, *, signed: bool = False) -> str:
    decimals = 2 if name in METRICS and METRICS[name].unit == "distance" else 3
    text = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    # A difference that rounds to nothing has no direction.
    return text.lstrip("+-") if float(text) == 0 else text


def judge(entry: Entry) -> str:
    """ "better", "worse", "unclear" (the interval holds zero), or "" where nothing can be said."""
    difference = entry.difference
    if difference is None or difference.low is None or difference.high is None:
        return ""
    if difference.low <= 0 <= difference.high:
        return "unclear"
    if entry.metric not in METRICS:
        return ""
    return "better" if (difference.low > 0) == higher_is_better(entry.metric) else "worse"


def higher_is_better(name: str) -> bool:
    """By METRICS; for a metric it doesn't know, yes."""
    return name not in METRICS or METRICS[name].better == "higher"
