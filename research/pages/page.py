"""A results page out of rows alone: tables, figures and verdicts; no number is typed by hand."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from hidiff.labels import MEAN
from hidiff.report.format import format_number, markdown
from hidiff.suites.rows import Results, Row, file_name, kind, kinds, read_results
from hidiff.suites.suite import HYBRID, MAIN_ARMS, PLAIN, SEGMENTOR_ONLY
from hidiff.weights import atomic_write
from research.pages.claims import RULE, Claim, Finding, judge_claims
from research.pages.compare import Pair, single
from research.pages.figures import Point, draw_cost, draw_curves, draw_forest
from research.pages.tables import (
    apart,
    at_home,
    band_entries,
    budget_table,
    differences_table,
    final_dice,
    group_rows,
    own_prior_table,
    pairs_to_show,
    scores_table,
    seeds_table,
    sizes_table,
)

TITLE = """# Results

Made by `hidiff results` from the rows of `hidiff benchmark`; written by no hand, so change nothing
here. Numbers are means over patients with their 95 % interval from 2,000 bootstrap draws of
patients; differences are paired, p is Wilcoxon's signed-rank test (n: patients that differ). Seeds
are averaged before patients. Intervals of fewer than about ten patients are too narrow."""


def find_results(folder: Path) -> list[Results]:
    """The results of every suite below a folder. Raises FileNotFoundError where there are none."""
    found = [read_results(file.parent) for file in sorted(folder.glob("*/rows.jsonl"))]
    found = [each for each in found if each.latest()]
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no rows of a suite. Run one first: hidiff benchmark main."
        )
    return found


def write_page(suites: Sequence[Results], page: Path) -> None:
    """Write the page, and its figures into a folder of its name beside it."""
    figures = page.with_suffix("")
    parts = [TITLE, "## The paper's claims", claims_text(suites)]
    for results in suites:
        parts += suite_parts(results, figures)
    with atomic_write(page) as temporary:
        text = "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"
        temporary.write_text(text, encoding="utf-8")


def claims_text(suites: Sequence[Results]) -> str:
    """A paragraph and a table a claim."""
    claims = judge_claims(suites)
    hardware = list(dict.fromkeys(each.hardware for claim in claims for each in claim.findings))
    parts = [RULE, *([f"All was measured on {hardware[0]}."] if len(hardware) == 1 else [])]
    for number, claim in enumerate(claims, start=1):
        count = f", {claim.count}" if claim.findings else ""
        parts += [
            f"**{number}. {claim.title}: {claim.verdict}{count}.** Measured: {claim.measured}.",
            findings_table(claim, several=len(hardware) > 1) if claim.findings else "No rows.",
        ]
    return "\n\n".join(map(str.strip, parts))


def findings_table(claim: Claim, several: bool) -> str:
    """Of one claim; hardware is a column where there are several kinds of it."""
    hidden = set() if several else {"hardware"}
    if not any(each.of for each in claim.findings):
        hidden.add("of")
    shown = [each.name for each in fields(Finding) if each.name not in hidden]
    return markdown(shown, [[getattr(each, name) for name in shown] for each in claim.findings])


def suite_parts(results: Results, figures: Path) -> list[str]:
    """All sections of one suite, each kind of hardware on its own."""
    rows = results.latest()
    versions = ", ".join(sorted({row["hidiff"] for row in rows}))
    hardware = kinds(rows)
    facts = [f"{len(rows)} rows, HiDiff {versions}."]
    if len(hardware) > 1:
        facts.append(
            f"Measured on {len(hardware)} kinds of hardware: each has its own sections, and "
            "nothing is compared across them."
        )
    name = results.folder.name
    parts = [f"## Suite {name}", " ".join(facts), "\n".join(f"- {line}" for line in apart(results))]
    for number, each in enumerate(hardware):
        mine = [row for row in rows if kind(row) == each]
        parts += [
            f"### Measured on {each}",
            *hardware_parts(results, mine, figures, f"{name}_{number}"),
        ]
    return parts


def hardware_parts(results: Results, rows: list[Row], figures: Path, stem: str) -> list[str]:
    """Tables and figures of what was measured on one kind of hardware."""
    pairs = pairs_to_show(results, kind(rows[0]))
    tables = {
        "Training": budget_table(rows),
        "Scores": scores_table(results, rows),
        "Paired differences": differences_table(pairs) if pairs else "",
        "Refined against its own prior (Dice)": own_prior_table(results, rows),
        "Spread over seeds": seeds_table(rows),
        "By size": sizes_table([pair for pair in pairs if pair.before[0]["arm"] == SEGMENTOR_ONLY]),
        "Corruptions": corruption_table(rows),
    }
    parts = [part for title, text in tables.items() if text for part in (f"#### {title}", text)]
    return parts + figure_parts(results, rows, pairs, figures, stem)


def figure_parts(
    results: Results, rows: list[Row], pairs: list[Pair], figures: Path, stem: str
) -> list[str]:
    """The figures that these rows are enough for, as links."""
    parts: list[str] = []

    def show(what: str, title: str) -> Path:
        file = figures / f"{file_name(stem, what)}.svg"
        parts.append(f"![{title}]({figures.name}/{file.name})")
        return file

    rivals = [pair for pair in pairs if pair.before[0]["arm"] == SEGMENTOR_ONLY]
    gains = {}
    for pair in rivals or pairs:  # the table has all
        entry = pair.summary().entry(MEAN, "dice")
        if entry.difference:
            arms = pair.after[0]["arm"] + ("" if rivals else f" - {pair.before[0]['arm']}")
            gains[f"{pair.data}, {pair.evaluation}: {arms}"] = entry.difference
    if gains:
        title = f"Dice less {SEGMENTOR_ONLY}'s" if rivals else "difference in Dice"
        title += ", 95 % interval"
        draw_forest(gains, title, show("differences", title))
    bands = {
        f"{pair.data}, {name}, {band}: {entry.metric}": entry.difference
        for pair in pairs
        if (pair.before[0]["arm"], pair.after[0]["arm"]) == (SEGMENTOR_ONLY, HYBRID)
        and pair.evaluation == PLAIN  # the table has all
        for (name, band), entry, _ in band_entries(pair)
        if entry.difference
    }
    if bands:
        title = "hybrid - segmentor_only by size, 95 % interval"
        draw_forest(bands, title, show("sizes", title))
    for data, curves in corruption_curves(rows).items():
        title = f"{data}: Dice under corruption"
        draw_curves(curves, "Dice", show(f"corruptions_{data}", title))
    cost = cost_points(results, rows)
    if cost:
        draw_cost(cost, "Dice", show("cost", "Dice against the time of a prediction"))
    return parts


def corruption_curves(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """data -> kind -> arm -> mean Dice over seeds, at strength 0 (none), 1, 2, ..."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    home = {key: mean_dice(each) for key, each in group_rows(at_home(rows), "data", "arm").items()}
    corrupted = [row for row in rows if "corruption" in row["look"]]
    for (data, arm), each in group_rows(corrupted, "data", "arm").items():
        if (data, arm) not in home:
            continue
        by_kind: dict[str, dict[int, list[Row]]] = {}
        for row in each:
            look = row["look"]
            strengths = by_kind.setdefault(look["corruption"], {})
            strengths.setdefault(look.get("strength", 1), []).append(row)
        for name, strengths in by_kind.items():
            values = [mean_dice(strengths[strength]) for strength in sorted(strengths)]
            found.setdefault(data, {}).setdefault(name, {})[arm] = [home[data, arm], *values]
    return found


def corruption_table(rows: Sequence[Row]) -> str:
    """The same as numbers."""
    lines = [
        (data, name, arm, *(format_number("dice", value) for value in values))
        for data, curves in corruption_curves(rows).items()
        for name, arms in curves.items()
        for arm, values in arms.items()
    ]
    if not lines:
        return ""
    width = max(map(len, lines))
    head = ("data", "corruption", "arm", "none", *(str(n) for n in range(1, width - 3)))
    return markdown(head, [(*line, *[""] * (width - len(line))) for line in lines])


def cost_points(results: Results, rows: Sequence[Row]) -> dict[str, list[Point]]:
    """data -> accuracy and time of the main arms and of those that were packed too, and of each way
    to predict on the same images; of the seeds that all of them have, where there are such."""
    found: dict[str, list[Point]] = {}
    shown = {*MAIN_ARMS, *(row["arm"] for row in rows if row["look"].get("packed"))}
    main = [row for row in rows if row["arm"] in shown]
    own = [row for row in main if not {"data", "corruption"} & row["look"].keys()]
    for (data,), of_data in group_rows(own, "data").items():
        points = group_rows(of_data, "arm", "evaluation")
        shared = set.intersection(*({row["seed"] for row in each} for each in points.values()))
        for (arm, evaluation), each in points.items():
            alike = [row for row in each if row["seed"] in shared] or each
            label = arm if evaluation == PLAIN else f"{arm}, {evaluation}"
            seconds = sum(row["seconds_per_case"] for row in alike) / len(alike)
            summary, source = single(results, alike)
            dice = getattr(summary.entry(MEAN, "dice"), source)
            found.setdefault(data, []).append(Point(label, seconds, dice))
    return found


def mean_dice(rows: Sequence[Row]) -> float:
    return sum(map(final_dice, rows)) / len(rows)
