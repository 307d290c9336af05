"""Figures of the results page, as SVG files that depend on the numbers only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from hidiff.metrics import Interval
from hidiff.weights import atomic_write

MARKERS = "osD^"


@dataclass(frozen=True)
class Point:
    """A dot with a name, and its interval in y."""

    label: str
    x: float
    y: Interval


def draw_forest(intervals: Mapping[str, Interval], title: str, file: Path) -> None:
    """Draw each difference as a dot on its interval, one line each, with a mark at zero."""
    figure = Figure(figsize=(7.2, 1.1 + 0.32 * len(intervals)), layout="constrained")
    axes = figure.add_subplot()
    for line, interval in enumerate(intervals.values()):
        if interval.low is not None and interval.high is not None:
            axes.plot([interval.low, interval.high], [line, line], color="tab:blue")
        axes.plot([interval.mean], [line], "o", color="tab:blue")
    axes.axvline(0, color="grey", linewidth=1)
    axes.set_yticks(range(len(intervals)), list(intervals))
    axes.set_ylim(len(intervals) - 0.5, -0.5)
    figure.supxlabel(title, fontsize="medium")  # as wide as names and axes together
    axes.locator_params(axis="x", nbins=5)
    write_svg(figure, file)


def draw_cost(points: Mapping[str, Sequence[Point]], y: str, file: Path) -> None:
    """Draw accuracy against seconds per case, one panel for each data set."""
    figure = Figure(figsize=(7.2, 3.2 * len(points)), layout="constrained")
    panels = figure.subplots(len(points), squeeze=False).flatten()
    for axes, (name, dots) in zip(panels, points.items(), strict=True):
        for number, dot in enumerate(dots):
            low, high = dot.y.low, dot.y.high
            marker = MARKERS[number // 10 % len(MARKERS)]  # there are ten colours
            if low is not None and high is not None:
                axes.plot([dot.x, dot.x], [low, high], color="lightgrey", zorder=0)
            axes.plot([dot.x], [dot.y.mean], marker, markersize=5, label=dot.label)
        axes.set_title(name)
        axes.set_xlabel("seconds per case (median)")
        axes.set_ylabel(y)
        # beside, as any corner may hold a dot
        axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    write_svg(figure, file)


def write_svg(figure: Figure, file: Path) -> None:
    """Write the figure without a date and with fixed names: equal numbers give equal files."""
    style = rc_context({"svg.hashsalt": "hidiff", "svg.fonttype": "none"})
    with style, atomic_write(file) as temporary:
        FigureCanvasSVG(figure).print_svg(temporary, metadata={"Date": None, "Creator": "hidiff"})
