"""The sections of an evaluation's page: results, sizes, calibration, cases, steps and rules."""

from collections.abc import Mapping, Sequence

from hidiff.evaluation.chosen import case_scores, choose_cases
from hidiff.metrics.bands import Band
from hidiff.metrics.calibration import Reliability
from hidiff.metrics.masks import MaskMetric
from hidiff.metrics.table import MEAN, Entry, Row, Summary
from hidiff.report.charts import forest_svg, reliability_svg, scatter_svg
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
from hidiff.report.page import Html, inline_figure, safe, table, table_row
from hidiff.report.pictures import (
    CLASSES,
    CasePicture,
    Trace,
    case_panels,
    has_several_classes,
    legend_colours,
    step_panels,
)

MOST_ROWS = 500  # single cases on the page; all of them are in the CSV file
CASE_SIDE, STEP_SIDE = 480, 256  # pixels at most: about twice the size on the page


def unit_name(summary: Summary) -> str:
    """What n counts: groups (patients, slabs of a volume), or images where each is its own."""
    name = "image" if summary.num_cases == summary.num_groups else "group"
    return name if summary.num_groups == 1 else f"{name}s"


def results(summary: Summary, rows: Sequence[Row], metric: str, notes: Sequence[str]) -> str:
    """The leading metric by class, its differences drawn, and every case as a dot."""
    entries = [summary.entry(name, metric) for name in shown_classes(summary)]
    differences = [entry.difference for entry in entries if entry.difference is not None]
    ends = [end for d in differences for end in (d.mean, d.low, d.high) if end is not None]
    reach = 1.05 * max((abs(end) for end in ends), default=0.0) or 1.0
    lines = table(
        ("class", "prior", "refined", "difference, 95 % interval", "", "p", "n"),
        [
            table_row(
                entry.class_name,
                format_mean(metric, entry.prior),
                format_mean(metric, entry.refined),
                difference_cell(entry),
                forest_svg(entry, reach),
                format_test(entry.test),
                str(summary.num_groups),
                total=entry.class_name == MEAN,
            )
            for entry in entries
        ],
    )
    hint = f"{metric_title(metric, summary.unit)}, mean over {unit_name(summary)}."
    if differences:
        hint += (
            " Drawn: refined minus prior with its 95 % interval; the dashed line is zero, the axis "
            f"runs from -{format_number(metric, reach)} to {format_number(metric, reach)}."
        )
    words = "".join(f"<p>{safe(note)}</p>" for note in notes)
    pairs = {
        name: (score["prior"], score["refined"])
        for name, score in case_scores(rows, metric).items()
        if len(score) == 2
    }
    return (
        f"<div class=split><div>{lines}<p class=hint>{safe(hint)}</p>{words}</div>"
        f"{scatter_svg(pairs, metric)}</div>"
    )


def all_metrics(summary: Summary) -> Html:
    classes = shown_classes(summary)
    entries = [summary.entry(name, metric) for metric in summary.metrics for name in classes]
    return table(
        ("metric", "class", "prior, 95 % interval", "refined, 95 % interval", "difference", "p"),
        [
            table_row(
                metric_title(entry.metric, summary.unit) if entry.class_name == classes[0] else "",
                entry.class_name,
                format_interval(entry.metric, entry.prior),
                format_interval(entry.metric, entry.refined),
                difference_cell(entry),
                format_test(entry.test),
                total=entry.class_name == MEAN,
            )
            for entry in entries
        ],
    )


def band_results(bands: Sequence[Band]) -> str:
    """Each class and band of sizes with its metrics."""
    lines = []
    for band in bands:
        for metric in band.summary.metrics:
            entry = band.summary.entry(band.class_name, metric)
            first = metric == band.summary.metrics[0]
            lines.append(
                table_row(
                    band.class_name if first else "",
                    band.name if first else "",
                    metric_title(metric, band.summary.unit),
                    format_interval(metric, entry.prior),
                    format_interval(metric, entry.refined),
                    difference_cell(entry),
                    str(band.count),
                    str(band.summary.num_groups),
                )
            )
    head = ("class", "size", "metric", "prior", "refined", "difference, 95 % interval", "count")
    return (
        f"{table((*head, 'n'), lines)}<p class=hint>Of the truth's things of each size: count is "
        "how many there are, n the groups that hold any; the others take no part in the mean.</p>"
    )


def calibration_figures(curves: Mapping[str, Mapping[str, Reliability]]) -> str:
    """A reliability plot of each class."""
    figures = "".join(reliability_svg(each, name) for name, each in curves.items())
    return (
        f"<div class=plots>{figures}</div><p class=hint>What was said against what was true, over "
        "the pixels of all cases in bins of equal width; the larger a dot, the more pixels. On the "
        "line a probability is right as often as it says, below it too sure.</p>"
    )


def difference_cell(entry: Entry) -> Html:
    """The difference with its interval, and in a word what follows."""
    text, word = format_interval(entry.metric, entry.difference, signed=True), judge(entry)
    return Html(f'{text} <span class="tag {word}">{word}</span>' if word else text)


def case_figures(pictures: Sequence[CasePicture], summary: Summary) -> str:
    parts = [legend(pictures, summary)]
    for case in pictures:
        before = "" if case.prior_score is None else f"{case.prior_score:.3f} to "
        role = f"<span class=tag>{safe(case.role)}</span> " if case.role else ""
        panels = "".join(
            inline_figure(picture, name, f"{name} of {case.name}", CASE_SIDE)
            for name, picture in case_panels(case).items()
        )
        parts.append(
            f"<h3>{role}{safe(case.name)} <small>{safe(case.score_name)} {before}"
            f"{case.score:.3f}</small></h3><div class=panels>{panels}</div>"
        )
    return "\n".join(parts)


def legend(pictures: Sequence[CasePicture], summary: Summary) -> str:
    """What the colours mean."""
    groups = {"Mistakes": legend_colours(pictures)}
    if any(has_several_classes(case) for case in pictures):
        names = [name for name in summary.class_names if name != MEAN]
        groups["Classes"] = {name: CLASSES[i % len(CLASSES)] for i, name in enumerate(names)}
    lines = ""
    for title, colours in groups.items():
        entries = "".join(
            f'<span><i style="background:rgb{colour}"></i>{safe(name)}</span> '
            for name, colour in colours.items()
        )
        lines += f"<p class=legend><b>{title}</b> {entries}</p>"
    most = max(case.most_bits for case in pictures)
    return (
        f"{lines}<p class=hint>Uncertainty: entropy of the probability, from 0 (black) to "
        f"{most:.3g} bit{'' if most == 1 else 's'} (pale yellow).</p>"
    )


def step_figures(trace: Trace, plane: int, name: str) -> str:
    steps = step_panels(trace, plane)
    columns = "".join(
        f"<div class=step>{inline_figure(yt, f'yt, t = {t}', f'noisy mask at t = {t}', STEP_SIDE)}"
        f"{inline_figure(y0_hat, 'y0_hat', f'y0_hat at t = {t}', STEP_SIDE)}</div>"
        for t, yt, y0_hat in steps
    )
    words = [f"{name}."] if name else []
    words.append(
        "Above the noisy mask that enters a step, below what the network takes for the clean mask; "
        "the last y0_hat is the sample."
    )
    if len(steps) < len(trace):
        words.append(f"{len(steps)} of {len(trace)} steps are shown.")
    return f"<p class=hint>{safe(' '.join(words))}</p><div class=steps>{columns}</div>"


def case_table(rows: Sequence[Row], metric: str, unit: str) -> str:
    """Every case with its mean over classes, worst first, folded away."""
    group_of = {row["case"]: row["group"] for row in rows}
    scores = case_scores(rows, metric)
    order = list(choose_cases(rows, len(scores), metric=metric))
    lines = []
    for name in order[:MOST_ROWS]:
        prior, refined = scores[name].get("prior"), scores[name].get("refined")
        known = [
            "-" if value is None else format_number(metric, value) for value in (prior, refined)
        ]
        change = "-"
        if prior is not None and refined is not None:
            change = format_number(metric, refined - prior, signed=True)
        lines.append(table_row(name, str(group_of[name]), *known, change))
    shown = "" if len(order) <= MOST_ROWS else f", the {MOST_ROWS} worst shown"
    title = safe(metric_title(metric, unit))
    return (
        f"<details><summary>{len(order)} images{shown}: {title}, mean over classes, worst first"
        f"</summary>{table(('case', 'group', 'prior', 'refined', 'difference'), lines)}</details>"
    )


def rules(summary: Summary) -> str:
    """What the means and intervals are, and what counts where a mask is empty."""
    unit = unit_name(summary)
    known = {name: KNOWN[name] for name in summary.metrics if name in KNOWN}
    lines = [
        table_row(
            metric_title(name, summary.unit),
            f"{metric.both_empty:g}",
            "the image diagonal" if metric.one_empty is None else f"{metric.one_empty:g}",
        )
        for name, metric in known.items()
        if isinstance(metric, MaskMetric)
    ]
    words = [
        "" if unit.startswith("image") else "Images of one group (a patient) are averaged first.",
        f"A mean is over {unit}. An interval holds the middle 95 % of {summary.num_resamples} "
        f"bootstrap means over {unit} drawn with replacement (seed {summary.seed}); that of the "
        "difference is paired.",
        f"p is of a two-sided Wilcoxon signed-rank test over {unit}, n those with a difference not "
        "zero; it is not corrected for the number of tests."
        if any(entry.test for entry in summary.entries)
        else "",
        "Fewer than about ten make an interval too narrow." if summary.num_groups < 10 else "",
        "No case is ever left out: an empty mask counts as the table says. Pixels outside a field "
        f"of view count in neither mask. {scale_words(summary)}",
    ]
    return (
        f"<p>{safe(' '.join(filter(None, words)))}</p>"
        f"{table(('metric', 'both masks empty', 'only one empty'), lines)}"
    )
