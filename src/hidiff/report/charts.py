"""The charts of an evaluation, drawn by matplotlib as SVG."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from hidiff.metrics.calibration import Reliability
from hidiff.metrics.table import Entry
from hidiff.report.format import format_number, judge, metric_name

# Tones that can be read on a white page and on a dark one.
INK, LINE, ACCENT, GOOD, BAD = "#78828d", "#aab2bb", "#3d85c6", "#17926c", "#c75b12"
VERDICT_COLOURS = {"better": GOOD, "worse": BAD}
SOURCE_COLOURS = (INK, BAD, ACCENT)
# The same numbers give the same bytes, and text stays text.
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hidiff",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def draw_differences(entries: Sequence[Entry]) -> bytes:
    """Draw refined minus prior for each class: a dot on its 95 % interval, and a line at zero."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _new_figure(4.6, 0.7 + 0.32 * len(entries))
        axes.axvline(0, color=LINE, linestyle="--", linewidth=1)
        for row, entry in enumerate(reversed(entries)):
            difference = entry.difference
            assert difference is not None
            colour = VERDICT_COLOURS.get(judge(entry), INK)
            if difference.low is not None and difference.high is not None:
                axes.plot([difference.low, difference.high], [row, row], color=colour, linewidth=2)
            axes.plot(difference.mean, row, "o", color=colour, markersize=6)
        axes.set_yticks(
            range(len(entries)), [_plain(each.class_name) for each in reversed(entries)]
        )
        axes.set_ylim(-0.6, len(entries) - 0.4)
        axes.margins(x=0.08)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"{metric_name(entries[0].metric)}, refined minus prior")
        return _as_svg(figure)


def draw_cases(pairs: Mapping[str, tuple[float, float]], metric: str) -> bytes:
    """Draw a dot per case, its prior to the right and its refined mask up."""
    prior, refined = np.array(list(pairs.values()), dtype=float).T
    low, high = min(prior.min(), refined.min()), max(prior.max(), refined.max())
    pad = 0.06 * (high - low) or 0.01
    with matplotlib.rc_context(STYLE):
        figure, axes = _new_figure(3.2, 3.2)
        axes.axline((low, low), slope=1, color=LINE, linestyle="--", linewidth=1)
        axes.scatter(prior, refined, s=26, color=ACCENT, alpha=0.65, linewidths=0)
        axes.set(xlim=(low - pad, high + pad), ylim=(low - pad, high + pad))
        axes.set_aspect("equal")
        axes.locator_params(nbins=5)
        axes.set_xlabel(f"{metric_name(metric)} of the prior")
        axes.set_ylabel(f"{metric_name(metric)} of the refined mask")
        return _as_svg(figure)


def draw_reliability(curves: Mapping[str, Reliability]) -> bytes:
    """Draw how often a class was there against its probability; a larger dot holds more pixels."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _new_figure(3.2, 3.2)
        axes.axline((0, 0), slope=1, color=LINE, linestyle="--", linewidth=1)
        for colour, (source, curve) in zip(SOURCE_COLOURS, curves.items(), strict=False):
            points = list(curve.points())
            total = sum(count for _, count, _, _ in points)
            sizes = [(3 + 10 * (count / total) ** 0.5) ** 2 for _, count, _, _ in points]
            said, true = [each[2] for each in points], [each[3] for each in points]
            label = f"{_plain(source)}: ECE {format_number('ece', curve.error)}"
            axes.plot(said, true, color=colour, linewidth=1.3, label=label)
            axes.scatter(said, true, s=sizes, color=colour, alpha=0.75, linewidths=0)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        axes.set_aspect("equal")
        axes.set_xlabel("predicted probability")
        axes.set_ylabel("observed frequency")
        axes.legend(frameon=False, fontsize=8, loc="upper left", handlelength=1)
        return _as_svg(figure)


def _new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a transparent figure of that size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    return figure, axes


def _plain(text: str) -> str:
    """Escape dollar signs in a name, because matplotlib would read them as a formula."""
    return text.replace("$", r"\$")


def _as_svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
