"""One self-contained page on an evaluation: numbers with intervals, cases, steps, and the rules."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from hidiff.evaluation.chosen import case_scores
from hidiff.metrics.bands import Band
from hidiff.metrics.calibration import Reliability
from hidiff.metrics.table import MEAN, Row, Summary
from hidiff.report.charts import draw_cases, draw_differences, draw_reliability
from hidiff.report.figures import PageFigure, chart_figure, picture_figure
from hidiff.report.format import (
    format_interval,
    format_mean,
    judge,
    metric_name,
    metric_title,
    shown_classes,
)
from hidiff.report.pictures import (
    CLASSES,
    CasePicture,
    Trace,
    case_panels,
    has_several_classes,
    legend_colours,
    step_panels,
)
from hidiff.report.sections import (
    cases_table,
    empty_masks_table,
    metrics_table,
    results_table,
    rules,
    sizes_table,
    unit_name,
)
from hidiff.weights import atomic_write

TEMPLATE = "report.html.jinja"
CASE_SIDE, STEP_SIDE = 480, 256  # pixels at most: about twice the size on the page
VERDICTS = {
    "better": "refinement helps",
    "worse": "refinement hurts",
    "unclear": "not significant, so this can be chance",
    "few": "too few for a verdict, so this can be chance",
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
    """Write `folder`/report.html, a page that needs no other file, and return its path.

    `summary` is that of `rows` (metrics.summarise). `metric` leads the page. `trace` is the trace
    of one Prediction, shown for plane `trace_plane` (of exclusive classes 0 is the background);
    `trace_name` names its case and class. `facts` are short lines such as data, split or seed;
    `notes` are sentences below the results. `curves` hold class -> source of the probability ->
    reliability; `bands` are results by size.
    """
    environment = Environment(
        loader=PackageLoader("hidiff", "report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    page = environment.get_template(TEMPLATE).render(
        title=title,
        verdict=verdict(summary, metric),
        facts=facts or {},
        notes=notes,
        results=results_table(summary, metric),
        charts=result_charts(summary, rows, metric),
        leading=f"{metric_title(metric, summary.unit)}, mean over {unit_name(summary)}",
        metrics=metrics_table(summary),
        sizes=sizes_table(bands) if bands else None,
        calibration=calibration_charts(curves or {}),
        pictures=[case_content(each) for each in pictures],
        legend=legend(pictures, summary) if pictures else {},
        most_bits=max((each.most_bits for each in pictures), default=1.0),
        steps=step_figures(trace, trace_plane),
        num_steps=len(trace),
        trace_name=trace_name,
        cases=cases_table(rows, metric),
        num_cases=len(case_scores(rows, metric)),
        rules=rules(summary),
        empty_masks=empty_masks_table(summary),
    )
    path = Path(folder) / "report.html"
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def verdict(summary: Summary, metric: str) -> dict[str, str]:
    """Return the parts of the page's first sentence, which is no stronger than its interval."""
    entry = summary.entry(shown_classes(summary)[-1], metric)
    name = metric_name(metric)
    base = f"{summary.num_groups} {unit_name(summary)}"
    if summary.num_cases != summary.num_groups:
        base += f" ({summary.num_cases} images)"
    known = {"name": f"Mean {name}" if entry.class_name == MEAN else name, "base": base}
    if entry.prior is None or entry.refined is None:
        return {**known, "only": format_interval(metric, entry.refined or entry.prior)}
    return {
        **known,
        "prior": format_mean(metric, entry.prior),
        "refined": format_mean(metric, entry.refined),
        "difference": format_interval(metric, entry.difference, signed=True),
        "words": VERDICTS[judge(entry)],
    }


def result_charts(summary: Summary, rows: Sequence[Row], metric: str) -> list[PageFigure]:
    """Return the differences by class and a dot per case; none where nothing was refined."""
    entries = [summary.entry(name, metric) for name in shown_classes(summary)]
    differences = [entry for entry in entries if entry.difference is not None]
    pairs = {
        name: (score["prior"], score["refined"])
        for name, score in case_scores(rows, metric).items()
        if len(score) == 2
    }
    if not differences or not pairs:
        return []
    return [
        chart_figure(
            draw_differences(differences),
            "Refined minus prior with its 95 % interval; the dashed line is zero.",
            f"difference of {metric_name(metric)} by class",
        ),
        chart_figure(
            draw_cases(pairs, metric),
            "One dot per image; on the dashed line refinement changed nothing.",
            f"{metric_name(metric)} of every image, prior against refined",
        ),
    ]


def calibration_charts(curves: Mapping[str, Mapping[str, Reliability]]) -> list[PageFigure]:
    """Return a reliability chart for each class."""
    return [
        chart_figure(draw_reliability(each), name, f"reliability of {name}")
        for name, each in curves.items()
    ]


def case_content(case: CasePicture) -> dict[str, Any]:
    """Return the pictures of a case with its scores."""
    panels = [
        picture_figure(picture, name, f"{name} of {case.name}", CASE_SIDE)
        for name, picture in case_panels(case).items()
    ]
    before = "" if case.prior_score is None else f"{case.prior_score:.3f} to "
    scores = f"{case.score_name} {before}{case.score:.3f}"
    return {"name": case.name, "role": case.role, "scores": scores, "panels": panels}


def legend(
    pictures: Sequence[CasePicture], summary: Summary
) -> dict[str, dict[str, tuple[int, int, int]]]:
    """Return the meaning of the colours: group -> name -> (red, green, blue)."""
    groups = {"Mistakes": legend_colours(pictures)}
    if any(has_several_classes(case) for case in pictures):
        names = [name for name in summary.class_names if name != MEAN]
        groups["Classes"] = {name: CLASSES[i % len(CLASSES)] for i, name in enumerate(names)}
    return groups


def step_figures(trace: Trace, plane: int) -> list[tuple[PageFigure, PageFigure]]:
    """Return yt and y0_hat of each step that is shown."""
    return [
        (
            picture_figure(yt, f"yt, t = {t}", f"noisy mask at t = {t}", STEP_SIDE),
            picture_figure(y0_hat, "y0_hat", f"y0_hat at t = {t}", STEP_SIDE),
        )
        for t, yt, y0_hat in step_panels(trace, plane)
    ]
