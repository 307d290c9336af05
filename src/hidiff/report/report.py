"""One self-contained page on an evaluation: numbers with intervals, cases, steps, and the rules."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hidiff.metrics.bands import Band
from hidiff.metrics.calibration import Reliability
from hidiff.metrics.table import MEAN, Row, Summary
from hidiff.report.format import format_interval, format_mean, judge, metric_name, shown_classes
from hidiff.report.page import Html, fact_list, safe, section, whole_page
from hidiff.report.pictures import CasePicture, Trace
from hidiff.report.sections import (
    all_metrics,
    band_results,
    calibration_figures,
    case_figures,
    case_table,
    results,
    rules,
    step_figures,
    unit_name,
)
from hidiff.weights import atomic_write

VERDICTS = {
    "better": "refinement helps",
    "worse": "refinement hurts",
    "unclear": "the interval holds zero, so this can be chance",
    "few": "so few that this can be chance",
    "": "no interval, so this can be chance",
}


def write_report(
    folder: Path | str,
    *,
    title: str,
    summary: Summary,
    rows: Sequence[Row],
    pictures: Sequence[CasePicture] = (),
    trace: Trace = (),
    trace_plane: int = 0,
    trace_name: str = "",
    facts: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    curves: Mapping[str, Mapping[str, Reliability]] | None = None,
    bands: Sequence[Band] = (),
    metric: str = "dice",
) -> Path:
    """Write `folder`/report.html and return its path.

    `summary` is of `rows` (metrics.summarise). `metric` leads the page. `trace` is that of one
    Prediction, shown for plane `trace_plane` (for exclusive classes 0 is the background);
    `trace_name` says of which case and class. `facts` are lines such as data, split, seed, steps,
    samples, budget; `notes` are sentences for below the results. `curves` are class -> whose
    probability -> reliability; `bands` are of things by size. The page needs no other file.
    """
    body = [
        f"<header><h1>{safe(title)}</h1><p class=verdict>{verdict(summary, metric)}</p></header>",
        fact_list(facts or {}),
        section("Results", results(summary, rows, metric, notes)),
        section("All metrics", all_metrics(summary)),
    ]
    if bands:
        body.append(section("By size", band_results(bands)))
    if curves:
        body.append(section("Calibration", calibration_figures(curves)))
    if pictures:
        body.append(section("Cases", case_figures(pictures, summary)))
    if trace:
        body.append(
            section("Every step of one refinement", step_figures(trace, trace_plane, trace_name))
        )
    body.append(section("Every case", case_table(rows, metric, summary.unit)))
    body.append(section("How to read the numbers", rules(summary)))
    path = Path(folder) / "report.html"
    with atomic_write(path) as temporary:
        temporary.write_text(whole_page(title, body), encoding="utf-8")
    return path


def verdict(summary: Summary, metric: str) -> Html:
    """The result in one sentence, and no stronger than its interval."""
    entry = summary.entry(shown_classes(summary)[-1], metric)
    title = metric_name(metric)
    if entry.class_name == MEAN:
        title = f"Mean {title}"
    base = f"{summary.num_groups} {unit_name(summary)}"
    if summary.num_cases != summary.num_groups:
        base += f" ({summary.num_cases} images)"
    if entry.prior is None or entry.refined is None:
        only = format_interval(metric, entry.refined or entry.prior)
        return Html(f"{safe(title)} <b>{only}</b>, over {base}.")
    return Html(
        f"{safe(title)} <b>{format_mean(metric, entry.prior)}</b> before and "
        f"<b>{format_mean(metric, entry.refined)}</b> after refinement: a difference of "
        f"<b>{format_interval(metric, entry.difference, signed=True)}</b> over {base}; "
        f"{VERDICTS[judge(entry)]}."
    )
