"""Make the one small table of findings that docs/evidence.md and README.md show.

    python research/pages/evidence.py

Each line is a difference between two arms, paired over patients, from research/rows; the last one
is from research/method/results/lidc/raters.csv. To show another finding, add a line to FINDINGS.
"""

import csv
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hidiff.labels import MEAN
from hidiff.metrics import Entry, summarise
from hidiff.report.format import format_interval, markdown
from hidiff.suites.rows import Results, Row
from hidiff.suites.suite import HYBRID, PLAIN, SEGMENTOR_ONLY, STAGE1
from hidiff.training.stages import REFINER_ONLY

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.pages.claims import mean_seconds
from research.pages.compare import Pair, single, the_pair, verdict
from research.pages.organs_page import CLINICS, FROZEN_LATE, LATER
from research.pages.reading import DOCS, ROOT, read_suites, replace_part, write_text
from research.pages.shipped_tables import (
    SHIPPED_TEXT,
    SIZES_TEXT,
    shipped_table,
    sizes_table,
    when_text,
)
from research.pages.use_tables import (
    CORRECTIONS_TEXT,
    REVIEW_TEXT,
    corrections_lines,
    corrections_table,
    review_table,
)

FINE_JOINT, PRIOR = "fine, joint", "its own prior"
ONE_RATE, BEST_RATE = "segmentor, equal FLOPs, one rate", "segmentor, equal FLOPs, best rate"
RATERS = ROOT / "research" / "method" / "results" / "lidc" / "raters.csv"
HEAD = ("finding", "data", "n", "seeds", "difference [95 % CI]", "rival", "verdict")


@dataclass(frozen=True)
class Finding:
    """One line: an arm of a suite against a rival, on one evaluation."""

    finding: str
    suite: str
    data: str
    arm: str
    rival: str = SEGMENTOR_ONLY
    evaluation: str = PLAIN
    shown: str = ""
    """name of the data; empty: as in the suite"""
    short: bool = False
    """True if the README has it too"""


FULL = "mask at full resolution"
COARSE = "mask at a quarter of the size"
FROZEN = "segmentor of another data set, frozen"
STOPPED = "segmentor stopped early, frozen"
AT_END = "segmentor trained five times as long, frozen"
ELSEWHERE = "the same model on other data"
FINDINGS = (
    Finding(FULL, "main", "DRIVE", HYBRID, short=True),
    Finding(FULL, "main", "LIDC", HYBRID),
    Finding(FULL, "main", "Kvasir-SEG", HYBRID),
    Finding(FULL, "main", "ACDC", HYBRID),
    Finding(COARSE, "coarse", "DRIVE, FPN", FINE_JOINT, shown="DRIVE", short=True),
    Finding(COARSE, "coarse", "CHASE_DB1 by halves, FPN", FINE_JOINT, shown="CHASE_DB1"),
    Finding(COARSE, "coarse", "ACDC, FPN", FINE_JOINT, shown="ACDC"),
    Finding(COARSE, "abdomen_brain", "Synapse, FPN", HYBRID, shown="Synapse"),
    *(
        Finding(
            COARSE,
            "abdomen_brain",
            f"LGG without {clinic}, FPN",
            HYBRID,
            evaluation=at,
            shown=f"LGG_FLAIR without {clinic}, on {'others' if at == PLAIN else clinic}",
        )
        for clinic in CLINICS
        for at in (PLAIN, clinic)
    ),
    Finding(COARSE, "coarse", "LIDC, FPN", FINE_JOINT, shown="LIDC"),
    Finding(COARSE, "coarse", "Kvasir-SEG, FPN", FINE_JOINT, shown="Kvasir-SEG", short=True),
    Finding(
        FROZEN, "adaptation", "CHASE_DB1's on DRIVE", "frozen", PRIOR, shown="DRIVE", short=True
    ),
    Finding(FROZEN, "adaptation", "CHASE_DB1's on DRIVE", "frozen", shown="DRIVE"),
    Finding(STOPPED, "abdomen_brain", "Synapse, FPN", "frozen", PRIOR, shown="Synapse"),
    Finding(STOPPED, "abdomen_brain", "Synapse, FPN", "frozen", shown="Synapse"),
    Finding(AT_END, "abdomen_brain", LATER, FROZEN_LATE, PRIOR, shown="Synapse"),
    Finding(AT_END, "abdomen_brain", LATER, FROZEN_LATE, shown="Synapse"),
)
# (suite, data, arm) whose time per image is compared with that of the segmentor alone
TIMES = (
    ("cost", "DRIVE", HYBRID),
    ("cost", "LIDC", HYBRID),
    ("coarse", "DRIVE, FPN", FINE_JOINT),
)

TITLE = """# What the evidence says

`make docs` makes this page from the [rows of all suites](../research/rows); change no number by
hand. Differences are in Dice, paired over n patients, with a 95 % bootstrap interval. Every rival
starts from the same stage-1 weights. Networks are small (width 16) and train for minutes on two
cores. [results.md](results.md) has all main arms, [benchmarks.md](benchmarks.md) the method."""

READING = """## How to read it

- **One rate, best rate**: with one rate, rival and hybrid train the segmentor in stage 2 at 0.0003,
  which may hold either back. With the best rate, each chose among 0.0001, 0.0003 and 0.001 on
  validation cases. A gain over a rival with one rate is not confirmed yet.
- **Mask at full resolution** (a U-Net, say): the hybrid, trained in turns, is no better than its
  segmentor trained on. On ACDC that segmentor still gained.
- **Mask at a quarter of the size** (a feature pyramid): a refiner that sees the image
  (`refiner.fine`), trained in one step with the segmentor (`training.segmentor: joint`). Borders of
  vessels and of the heart gain; nodules, polyps and organs do not. This arm was chosen on these
  test images of vessels and hearts with seed 0. Where the rival had one rate, a confirmation is
  due.
- **Segmentor of another data set, frozen**: a refiner trained on the new data adds much to a
  segmentor that cannot be trained. Training that segmentor on is better where it is possible.
- **Segmentor stopped early, frozen**: five sixths of the gain on abdomen CT is the pancreas, which
  that segmentor never predicts ([organs.md](organs.md)). A segmentor that is trained on for as
  many FLOPs learns it too; over that one the refiner gains nothing. Nor does it after a stage 1 of
  five times as many steps.
- **Samples** at temperature 1 differ from each other much as four radiologists do: the energy
  distance to their masks (lower is better) against that of a single mask."""

TIMES_TEXT = """## Time of a prediction

Seconds per image, one step, in multiples of the segmentor's alone."""


def main() -> None:
    suites = read_suites()
    lines = evidence_lines(suites)
    write_text(
        DOCS / "evidence.md",
        *(TITLE, markdown(HEAD, lines), when_text(lines, corrections_lines()), READING),
        *(SHIPPED_TEXT, shipped_table(), SIZES_TEXT, sizes_table()),
        *(CORRECTIONS_TEXT, corrections_table(), REVIEW_TEXT, review_table()),
        *(TIMES_TEXT, times_table(suites)),
    )
    replace_part(ROOT / "README.md", "evidence", short_table(suites))


def evidence_lines(suites: Mapping[str, Results]) -> list[tuple[object, ...]]:
    """Return the cells of all findings."""
    return [*(line(finding, suites[finding.suite]) for finding in FINDINGS), raters_line()]


def short_table(suites: Mapping[str, Results]) -> str:
    """Return the findings of the README: one line for each kind, with a verdict."""
    lines = [line(finding, suites[finding.suite]) for finding in FINDINGS if finding.short]
    return markdown(HEAD, [*corrections_lines(), *lines, raters_line()])


def line(finding: Finding, results: Results) -> tuple[object, ...]:
    """Return the cells of a finding. Raises KeyError if the rows do not have it."""
    if finding.rival == PRIOR:
        wanted = {"data": finding.data, "arm": finding.arm, "evaluation": finding.evaluation}
        rows = [row for row in results.latest() if wanted.items() <= row.items()]
        if not rows:
            raise KeyError(f"{results.folder} has no row of {wanted}")
        summary, seeds, rival = single(results, rows)[0], len(rows), PRIOR
    else:
        pair = the_pair(results, finding.data, finding.arm, finding.rival, finding.evaluation)
        summary, seeds, rival = pair.summary(), len(pair.seeds), name_rival(pair)
    entry = summary.entry(MEAN, "dice")
    data = finding.shown or finding.data
    facts = finding.finding, data, summary.num_groups, seeds
    return (*facts, difference(entry), rival, verdict(entry))


def name_rival(pair: Pair) -> str:
    """Return the rival's name; it has its best rate if both arms chose theirs on validation.

    An arm that leaves the segmentor as it is has no rate to choose.
    """
    rows = [row for row in (*pair.before, *pair.after) if not is_frozen(row)]
    return BEST_RATE if all(row.get("rates") for row in rows) else ONE_RATE


def is_frozen(row: Row) -> bool:
    """Return whether stage 2 trained the refiner alone."""
    stages = row["steps"].keys() - {STAGE1}
    return stages == {REFINER_ONLY.name}


def raters_line() -> tuple[object, ...]:
    """Return the cells of 16 samples against one mask, by their energy distance to four raters."""
    sources = {"baseline, one mask": "prior", "hybrid, 16": "refined"}
    with open(RATERS, newline="", encoding="utf-8") as file:
        rows = [
            {**row, "source": sources[row["arm"]], "ged": float(row["ged"])}
            for row in csv.DictReader(file)
            if row["arm"] in sources
        ]
    keys = ("case", "group", "class", "source", "ged")
    summary = summarise([{key: row[key] for key in keys} for row in rows])
    entry = summary.entry(MEAN, "ged")
    shown = f"energy distance {difference(entry)}"
    n = summary.num_groups
    return ("16 samples against four raters", "LIDC", n, 1, shown, "one mask", verdict(entry))


def difference(entry: Entry) -> str:
    return format_interval(entry.metric, entry.difference, signed=True)


def times_table(suites: Mapping[str, Results]) -> str:
    """Return the time of a prediction against the segmentor's, as trained and packed."""
    lines = [
        (data, arm, *(ratio(suites[suite], data, arm, how) for how in (PLAIN, "packed")))
        for suite, data, arm in TIMES
    ]
    return markdown(("data", "arm", "as trained", "packed"), lines)


def ratio(results: Results, data: str, arm: str, evaluation: str) -> str:
    pair = the_pair(results, data, arm, STAGE1, evaluation)
    before, after = (mean_seconds(rows) for rows in (pair.before, pair.after))
    return f"{after / before:.1f}"


if __name__ == "__main__":
    main()
