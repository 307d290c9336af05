"""Make docs/organs.md: what refinement brings for organs, in 3-D, and for tumours of other clinics.

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
from research.pages.compare import (
    Pair,
    find_pairs,
    gains,
    paired_gap,
    unpaired_gap,
    verdict,
)
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

TITLE = """# Organs of the abdomen, and brain tumours

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


CLINICS = ("HT", "DU")  # each kept out of a training, and tested beside the others
ARMS = {
    "frozen, its own prior": (FROZEN, None),
    "frozen, segmentor alone": (FROZEN, SEGMENTOR_ONLY),
    "hybrid, its own prior": (HYBRID, None),
    "hybrid, segmentor alone": (HYBRID, SEGMENTOR_ONLY),
}
CLINICS_TEXT = """## Brain tumours, at home and at a clinic that is not in the training

One of the four clinics of LGG_FLAIR is kept out; the others train, and a third of their patients
tests ("home"). Scores are those of slices, averaged over n patients. "Segmentor alone" is trained
on for as many FLOPs. Dice of a slice without a tumour is 1 if none is found."""
CLINICS_HEAD = ("kept out", "tested on", "n", "arm, less", "before", "after", "Dice [95 % CI]",
                "verdict", "HD95, px [95 % CI]")  # fmt: skip
SIZES_TEXT = "Dice of single tumours by their size in a slice, the hybrid less the segmentor alone:"
SIZES_HEAD = ("kept out", "tested on", "tumour", "slices", "before", "after", "Dice [95 % CI]")


def main() -> None:
    results = read_suites()[SUITE]
    parts = [TITLE]
    for title, (arm, rival) in COMPARISONS.items():
        cases = find_cases(results, arm, rival)
        if cases:
            parts += [f"## {title}", organ_table(summarise(cases)), describe_sizes(cases)]
    lines = list(clinic_lines(results))
    if lines:
        parts += [CLINICS_TEXT, markdown(CLINICS_HEAD, lines), *describe_clinics(results)]
        parts += [SIZES_TEXT, markdown(SIZES_HEAD, list(size_lines(results)))]
    write_text(DOCS / "organs.md", *parts)


def find_pair(results: Results, arm: str, rival: str, data: str, evaluation: str) -> Pair | None:
    """Return the pair of two arms, if both have rows."""
    for pair in find_pairs(results, rival, arm):
        if (pair.data, pair.evaluation) == (data, evaluation):
            return pair
    return None


def find_cases(
    results: Results, arm: str, rival: str | None, data: str = DATA, evaluation: str = PLAIN
) -> list[CaseRow]:
    """Return the scores of an arm as refined, and of its rival as prior; empty without rows.

    Without a rival, the prior is the arm's own.
    """
    if rival:
        pair = find_pair(results, arm, rival, data, evaluation)
        return pair.cases() if pair else []
    wanted = {"data": data, "arm": arm, "evaluation": evaluation, "seed": 0}
    rows = [row for row in results.latest() if wanted.items() <= row.items()]
    return results.cases(rows[-1]) if rows else []


def places_of(clinic: str) -> dict[str, tuple[str, str]]:
    """Return data and evaluation of the home and of the clinic that was kept out."""
    data = f"LGG without {clinic}, FPN"
    return {"home": (data, PLAIN), clinic: (data, clinic)}


def clinic_lines(results: Results) -> Iterator[tuple[object, ...]]:
    """Return a line for each clinic kept out, place and comparison that has rows."""
    for clinic in CLINICS:
        for place, (data, evaluation) in places_of(clinic).items():
            for name, (arm, rival) in ARMS.items():
                cases = find_cases(results, arm, rival, data, evaluation)
                if not cases:
                    continue
                summary = summarise(cases)
                dice, hd95 = (summary.entry(MEAN, metric) for metric in ("dice", "hd95"))
                yield (
                    *(clinic, place, summary.num_groups, name),
                    *(format_mean("dice", mean) for mean in (dice.prior, dice.refined)),
                    format_interval("dice", dice.difference, signed=True),
                    verdict(dice),
                    format_interval("hd95", hd95.difference, signed=True),
                )


def describe_clinics(results: Results) -> Iterator[str]:
    """Return by how much the gain at the clinic that was kept out exceeds that at home."""
    parts = []
    for clinic in CLINICS:
        for name, (arm, rival) in ARMS.items():
            home, away = (
                find_cases(results, arm, rival, *place) for place in places_of(clinic).values()
            )
            if home and away:
                gap = unpaired_gap(gains(home, "dice"), gains(away, "dice"))
                parts.append(f"{clinic}, {name} {format_interval('dice', gap, signed=True)}")
    yield f"Gain at the clinic kept out less that at home: {'; '.join(parts)}."


def size_lines(results: Results) -> Iterator[tuple[object, ...]]:
    """Return a line for each clinic kept out, place and band of sizes."""
    for clinic in CLINICS:
        for place, (data, evaluation) in places_of(clinic).items():
            pair = find_pair(results, HYBRID, SEGMENTOR_ONLY, data, evaluation)
            if pair is None:
                continue
            for (_, band), cases in pair.bands().items():
                dice = summarise(cases).entry(MEAN, "object_dice")
                yield (
                    *(clinic, place, band, len(cases) // 2),
                    *(format_mean("dice", mean) for mean in (dice.prior, dice.refined)),
                    format_interval("dice", dice.difference, signed=True),
                )


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
