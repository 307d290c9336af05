"""Make docs/results.md, its figures, and the full tables beside the rows, from the rows alone.

    python research/pages/results_page.py

The page is short: the main arms, what each part of the method adds, and a verdict on each of the
paper's claims. Every other number is in research/rows/SUITE/tables/*.csv, and the lines behind the
verdicts in research/rows/claims.csv. Change no number by hand: run this again.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from hidiff.labels import MEAN
from hidiff.metrics import Interval
from hidiff.report.format import format_interval, format_mean, markdown
from hidiff.suites.rows import Results, Row, kinds
from hidiff.suites.suite import HYBRID, MAIN_ARMS, PLAIN, SEGMENTOR_ONLY

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.pages.claims import RULE, Claim, judge_claims, mean_seconds
from research.pages.compare import find_pairs, single, verdict
from research.pages.figures import Point, draw_cost, draw_forest
from research.pages.reading import DOCS, ROWS, SUITES, read_suites, write_text
from research.pages.tables import make_tables, not_compared, write_table

FINE_JOINT = "fine, joint"
SHOWN_ARMS = {"main": HYBRID, "coarse": FINE_JOINT}  # suite -> the arm in the main table
FOREST_SUITES = ("main", "coarse", "families")
# Arms of the suite ablation in the table of parts; its CSV files have the others.
PARTS = {
    HYBRID: "none: the hybrid",
    "real": "real-valued refiner, not 1-bit",
    "fine": "refiner sees the full-size image",
    "condition each_step": "image features at each step",
    "exchange concatenation": "concatenation, no cross transformer",
    "noise uniform": "uniform noise, not the prior",
    "kind gaussian": "normal noise, not Bernoulli",
    "target flip": "the paper's target (flip)",
    "the paper's": "the paper's target, losses and steps",
    "schedule cosine2": "cosine schedule",
    "T 1": "T = 1, not 10",
    "no soft Dice": "no soft Dice in the loss",
    "KL": "KL divergence as only loss",
    "last_step_share 0": "t drawn evenly",
    "segmentor trained": "segmentor trained, in turns",
    "segmentor joint": "segmentor trained, in one step",
}
PARTS_DATA = "DRIVE, weak U-Net"

TITLE = """# Results

`make docs` makes this page from the [rows of all suites](../research/rows); change no number by
hand. Scores are Dice, averaged over seeds and then patients (n). A difference is paired over
patients, with a 95 % bootstrap interval; it is *not significant* if that includes 0, or if
Wilcoxon's signed-rank test has p above 0.05.
[benchmarks.md](benchmarks.md) explains suites and arms, [evidence.md](evidence.md) has the
findings."""

MAIN = """## The main arms

The rival is the segmentor trained on with the same FLOPs, from the same stage-1 weights. `main`
has the hybrid behind a full-resolution segmentor; `coarse` has `fine, joint` behind one whose mask
has a quarter of the image's size (FPN). That arm was chosen on these test images with seed 0, and
rivals had one learning rate, 0.0003, unless [evidence.md](evidence.md) says best rate."""

PARTS_TEXT = """## What each part adds

DRIVE, behind a U-Net stopped after 200 steps; one seed, n = 20. The gain is over the
arm's own prior. The last two arms train the segmentor too; the others refine the same prior."""

CLAIMS_TEXT = f"""## The paper's claims

{RULE} All lines: [claims.csv](../research/rows/claims.csv)."""

COST_TEXT = """## Cost

Dice against the time of a prediction, by number of steps and samples, as trained and packed."""

TABLES_TEXT = "CSV files beside the rows: [research/rows](../research/rows)/SUITE/tables/*.csv."


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rows", type=Path, default=ROWS, help="folder of the suites' rows")
    parser.add_argument("--suites", type=Path, default=SUITES, help="folder of the suites")
    parser.add_argument("--page", type=Path, default=DOCS / "results.md")
    args = parser.parse_args()
    suites = read_suites(args.rows, args.suites)
    claims = judge_claims(list(suites.values()))
    write_page(suites, claims, args.page)
    write_tables(suites, claims, args.rows)


def write_page(suites: Mapping[str, Results], claims: Sequence[Claim], page: Path) -> None:
    """Write the page, and its figures into the folder of the same name beside it."""
    figures = page.with_suffix("")
    hardware = {kind for results in suites.values() for kind in kinds(results.latest())}
    forest_title = f"Dice less {SEGMENTOR_ONLY}'s at equal FLOPs, 95 % interval"
    draw_forest(differences(suites), forest_title, figures / "differences.svg")
    parts = [TITLE, f"Measured on {'; '.join(sorted(hardware))}.", MAIN, main_table(suites)]
    parts.append(f"![{forest_title}]({figures.name}/differences.svg)")
    if "ablation" in suites:
        parts += [PARTS_TEXT, parts_table(suites["ablation"])]
    parts += [CLAIMS_TEXT, claims_table(claims)]
    if "cost" in suites:
        draw_cost(cost_points(suites["cost"]), "Dice", figures / "cost.svg")
        parts += [COST_TEXT, f"![Dice against the time of a prediction]({figures.name}/cost.svg)"]
    parts += ["## Full tables", TABLES_TEXT]
    gaps = [line for results in suites.values() for line in not_compared(results)]
    write_text(page, *parts, "\n".join(f"- {line}" for line in gaps))


def write_tables(suites: Mapping[str, Results], claims: Sequence[Claim], folder: Path) -> None:
    """Write every table of every suite as CSV beside its rows, and all lines of the claims."""
    for name, results in suites.items():
        for title, lines in make_tables(results).items():
            write_table(lines, folder / name / "tables" / f"{title}.csv")
    lines = [
        {"claim": claim.title, **asdict(result)} for claim in claims for result in claim.results
    ]
    if lines:
        write_table(lines, folder / "claims.csv")


def main_table(suites: Mapping[str, Results]) -> str:
    """Return the main arm of each suite in SHOWN_ARMS against the rival of equal budget."""
    head = ("suite", "data", "seeds", "n", "rival", "refined", "difference", "verdict")
    lines = []
    for suite, arm in SHOWN_ARMS.items():
        pairs = find_pairs(suites[suite], SEGMENTOR_ONLY, arm, is_plain) if suite in suites else []
        for pair in pairs:
            summary = pair.summary()
            entry = summary.entry(MEAN, "dice")
            scores = (format_mean("dice", mean) for mean in (entry.prior, entry.refined))
            difference = format_interval("dice", entry.difference, signed=True)
            n = summary.num_groups
            lines.append(
                (suite, pair.data, len(pair.seeds), n, *scores, difference, verdict(entry))
            )
    return markdown(head, lines)


def differences(suites: Mapping[str, Results]) -> dict[str, Interval]:
    """Return the difference to the rival of equal budget for every line of the forest plot."""
    found = {}
    for suite in FOREST_SUITES:
        for arm in (HYBRID, FINE_JOINT):
            pairs = (
                find_pairs(suites[suite], SEGMENTOR_ONLY, arm, is_plain) if suite in suites else []
            )
            for pair in pairs:
                entry = pair.summary().entry(MEAN, "dice")
                if entry.difference:
                    found[f"{suite}, {pair.data}: {arm}"] = entry.difference
    return found


def parts_table(results: Results) -> str:
    """Return what each change of the method does to the gain and to the refined masks."""
    head = ("change", "gain over prior", "difference to hybrid", "verdict")
    rows = [row for row in results.latest() if row["data"] == PARTS_DATA and is_plain(row)]
    pairs = {
        pair.after[0]["arm"]: pair
        for arm in PARTS
        for pair in find_pairs(results, HYBRID, arm, is_plain)
        if pair.data == PARTS_DATA and arm != HYBRID
    }
    lines = []
    for arm, words in PARTS.items():
        of_arm = [row for row in rows if row["arm"] == arm]
        if not of_arm:
            continue
        gain = single(results, of_arm)[0].entry(MEAN, "dice").difference
        cells = ("", "")
        if arm in pairs:
            entry = pairs[arm].summary().entry(MEAN, "dice")
            cells = (format_interval("dice", entry.difference, signed=True), verdict(entry))
        lines.append((words, format_mean("dice", gain, signed=True), *cells))
    return markdown(head, lines)


def claims_table(claims: Sequence[Claim]) -> str:
    """Return a line for each claim."""
    head = ("claim", "measured", "holds on", "verdict")
    return markdown(
        head, [(claim.title, claim.measured, claim.count, claim.verdict) for claim in claims]
    )


def cost_points(results: Results) -> dict[str, list[Point]]:
    """Return accuracy and time of every arm and way to predict, by data set.

    If all of them share some seeds, these seeds alone are averaged.
    """
    points: dict[str, list[Point]] = {}
    rows = [row for row in results.latest() if not {"data", "corruption"} & row["look"].keys()]
    rows = [row for row in rows if row["arm"] in MAIN_ARMS]
    for data in dict.fromkeys(row["data"] for row in rows):
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in rows:
            if row["data"] == data:
                groups.setdefault((row["arm"], row["evaluation"]), []).append(row)
        shared = set.intersection(*({row["seed"] for row in group} for group in groups.values()))
        for (arm, evaluation), group in groups.items():
            alike = [row for row in group if row["seed"] in shared] or group
            label = arm if evaluation == PLAIN else f"{arm}, {evaluation}"
            summary, source = single(results, alike)
            dice = getattr(summary.entry(MEAN, "dice"), source)
            points.setdefault(data, []).append(Point(label, mean_seconds(alike), dice))
    return points


def is_plain(row: Row) -> bool:
    return row["evaluation"] == PLAIN


if __name__ == "__main__":
    main()
