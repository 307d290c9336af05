"""Make docs/organs.md: what refinement brings for each organ of the abdomen, evaluated in 3-D.

python research/pages/organs_page.py
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from hidiff.labels import MEAN
from hidiff.metrics import Summary, summarise
from hidiff.report.format import format_interval, format_mean, markdown
from hidiff.suites.rows import CaseRow, Results
from hidiff.suites.suite import HYBRID, PLAIN, SEGMENTOR_ONLY

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.pages.compare import find_pairs, gains, paired_gap, verdict
from research.pages.reading import DOCS, read_suites, write_text

SUITE, DATA, FROZEN = "abdomen_brain", "Synapse, FPN", "frozen"
# By their share of the voxels, which `hidiff data check synapse_257` prints.
ORGANS = (
    "gallbladder",
    "pancreas",
    "aorta",
    "left_kidney",
    "right_kidney",
    "spleen",
    "stomach",
    "liver",
)
FEW = 3  # organs that count as the smallest, and as the largest
HEAD = ("organ", "before", "after", "Dice [95 % CI]", "verdict", "HD95, mm [95 % CI]")

TITLE = """# Organs of the abdomen

`make docs` makes this page from the [rows](../research/rows/abdomen_brain) of the suite
[abdomen_brain](../research/suites/abdomen_brain.yaml); change no number by hand. 12 test volumes
of Synapse are evaluated in 3-D: mean Dice before and after, differences of Dice and of HD95
(lower is better), with a 95 % bootstrap interval over patients. Organs are sorted by size. An organ
that is missed has Dice 0 and the volume's diagonal as HD95.

The networks are small (width 16, EfficientNet-Lite0 with ImageNet's weights, slices of 128x128) and
trained for minutes on one core, on slices of 257x257 that are near, but not equal, to those of
published results: do not compare them."""

COMPARISONS = {
    "The refiner behind a frozen segmentor, against its own prior": (FROZEN, None),
    "The refiner behind a frozen segmentor, against the segmentor trained on for as many FLOPs": (
        FROZEN,
        SEGMENTOR_ONLY,
    ),
    "The hybrid, against its own prior": (HYBRID, None),
    "The hybrid, against the segmentor trained on for as many FLOPs": (HYBRID, SEGMENTOR_ONLY),
}


def main() -> None:
    results = read_suites()[SUITE]
    parts = [TITLE]
    for title, (arm, rival) in COMPARISONS.items():
        cases = find_cases(results, arm, rival)
        if cases:
            parts += [f"## {title}", organ_table(summarise(cases)), describe_sizes(cases)]
    write_text(DOCS / "organs.md", *parts)


def find_cases(results: Results, arm: str, rival: str | None) -> list[CaseRow]:
    """Return the scores of an arm as refined, and of its rival as prior; empty without rows.

    Without a rival, the prior is the arm's own.
    """
    if rival:
        pairs = [
            pair
            for pair in find_pairs(results, rival, arm)
            if (pair.data, pair.evaluation) == (DATA, PLAIN)
        ]
        return pairs[0].cases() if pairs else []
    wanted = {"data": DATA, "arm": arm, "evaluation": PLAIN, "seed": 0}
    rows = [row for row in results.latest() if wanted.items() <= row.items()]
    return results.cases(rows[-1]) if rows else []


def organ_table(summary: Summary) -> str:
    """Return a line for each organ, and one for their mean."""
    return markdown(HEAD, list(organ_lines(summary)))


def organ_lines(summary: Summary) -> Iterator[tuple[object, ...]]:
    for organ in (*ORGANS, MEAN):
        dice, hd95 = (summary.entry(organ, metric) for metric in ("dice", "hd95"))
        yield (
            organ.replace("_", " "),
            *(format_mean("dice", mean) for mean in (dice.prior, dice.refined)),
            format_interval("dice", dice.difference, signed=True),
            verdict(dice),
            format_interval("hd95", hd95.difference, signed=True),
        )


def describe_sizes(cases: list[CaseRow]) -> str:
    """Return by how much the gain on the smallest organs exceeds that on the largest."""
    large, small = (
        gains([row for row in cases if row["class"] in organs], "dice")
        for organs in (ORGANS[-FEW:], ORGANS[:FEW])
    )
    entry = paired_gap(large, small, "dice")
    assert entry is not None  # there are 12 patients
    number = format_interval("dice", entry.difference, signed=True)
    return (
        f"Gain on the {FEW} smallest organs less that on the {FEW} largest: {number}, "
        f"n = {len(small)} ({verdict(entry)})."
    )


if __name__ == "__main__":
    main()
