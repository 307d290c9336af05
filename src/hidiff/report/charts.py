"""Small drawings of an evaluation, as SVG: intervals, a dot per case, reliability."""

from collections.abc import Mapping

from hidiff.metrics.calibration import Reliability
from hidiff.metrics.table import Entry
from hidiff.report.format import format_number, judge, metric_name
from hidiff.report.page import Html, safe


def forest_svg(entry: Entry, reach: float) -> Html:
    """The difference as a dot on its interval, between -reach and reach with zero in the middle."""
    difference = entry.difference
    if difference is None:
        return Html("")

    def at(value: float) -> str:
        return f"{100 + 70 * value / reach:.1f}"

    bar = ""
    if difference.low is not None and difference.high is not None:
        ends = f'x1="{at(difference.low)}" x2="{at(difference.high)}"'
        bar = f'<line {ends} y1="11" y2="11" class="bar {judge(entry)}"></line>'
    return Html(
        '<svg class=forest viewBox="25 0 150 22" width="150" height="22" aria-hidden=true>'
        '<line x1="100" x2="100" y1="0" y2="22" class=zero></line>'
        f'{bar}<circle cx="{at(difference.mean)}" cy="11" r="4.5" class="dot {judge(entry)}">'
        "</circle></svg>"
    )


def scatter_svg(pairs: Mapping[str, tuple[float, float]], metric: str) -> Html:
    """A dot per case, prior to the right, refined up; on the diagonal nothing has changed."""
    if not pairs:
        return Html("")
    values = [value for pair in pairs.values() for value in pair]
    pad = (max(values) - min(values)) * 0.06 or 0.01
    low, high = min(values) - pad, max(values) + pad

    def at(value: float) -> float:
        return 240 * (value - low) / (high - low)

    dots = "".join(
        f'<circle cx="{at(prior):.1f}" cy="{240 - at(refined):.1f}" r="4" class=case><title>'
        f"{safe(name)}: {format_number(metric, prior)} to {format_number(metric, refined)}"
        "</title></circle>"
        for name, (prior, refined) in pairs.items()
    )
    title = safe(metric_name(metric))
    first, last = format_number(metric, min(values)), format_number(metric, max(values))
    return Html(
        '<figure class=scatter><svg viewBox="-40 -6 290 284" role=img '
        f'aria-label="{title} of every image, prior against refined">'
        '<rect width="240" height="240" class=frame></rect>'
        '<line x1="0" y1="240" x2="240" y2="0" class=zero></line>'
        f"{dots}"
        f'<text x="{at(min(values)):.0f}" y="254" text-anchor=middle>{first}</text>'
        f'<text x="{at(max(values)):.0f}" y="254" text-anchor=middle>{last}</text>'
        f'<text x="-4" y="{244 - at(min(values)):.0f}" text-anchor=end>{first}</text>'
        f'<text x="-4" y="{244 - at(max(values)):.0f}" text-anchor=end>{last}</text>'
        '<text x="120" y="270" text-anchor=middle>prior</text>'
        '<text transform="translate(-14 120) rotate(-90)" text-anchor=middle>refined</text>'
        f"</svg><figcaption>{title}, a dot per image; on the line refinement changed nothing."
        "</figcaption></figure>"
    )


def reliability_svg(curves: Mapping[str, Reliability], name: str) -> Html:
    """What was said to the right, how much of it was true up; a dot per bin, by its pixels."""
    drawn, labels = "", ""
    for number, (source, curve) in enumerate(curves.items()):
        points = list(curve.points())
        total = sum(count for _, count, _, _ in points)
        line = " ".join(f"{240 * said:.1f},{240 - 240 * true:.1f}" for _, _, said, true in points)
        dots = "".join(
            f'<circle cx="{240 * said:.1f}" cy="{240 - 240 * true:.1f}" '
            f'r="{1.5 + 5 * (count / total) ** 0.5:.1f}"><title>{safe(source)}: said {said:.3f}, '
            f"true {true:.3f}, {count} pixels</title></circle>"
            for _, count, said, true in points
        )
        drawn += f'<g class="curve c{number}"><polyline points="{line}"></polyline>{dots}</g>'
        labels += (
            f'<text x="8" y="{16 + 14 * number}" class="c{number}">{safe(source)}: ECE '
            f"{format_number('ece', curve.error)}</text>"
        )
    return Html(
        '<figure class=scatter><svg viewBox="-40 -6 290 284" role=img '
        f'aria-label="Reliability of {safe(name)}">'
        '<rect width="240" height="240" class=frame></rect>'
        '<line x1="0" y1="240" x2="240" y2="0" class=zero></line>'
        f"{drawn}{labels}"
        '<text x="0" y="254" text-anchor=middle>0</text>'
        '<text x="240" y="254" text-anchor=middle>1</text>'
        '<text x="-4" y="244" text-anchor=end>0</text><text x="-4" y="4" text-anchor=end>1</text>'
        '<text x="120" y="270" text-anchor=middle>said</text>'
        '<text transform="translate(-14 120) rotate(-90)" text-anchor=middle>true</text>'
        f"</svg><figcaption>{safe(name)}</figcaption></figure>"
    )
