"""Make docs/organs.md: what refinement brings for organs, in 3-D, and for tumours of other clinics.

python research/pages/organs_page.py
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from hidiff.labels import MEAN
from hidiff.metrics import Summary, summarise
from hidiff.report.format import format_interval, format_mean, markdown
from hidiff.suites.rows import CaseRow, Results
from hidiff.suites.suite import HYBRID, PLAIN, SEGMENTOR_ONLY, STAGE1

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

SUITE = "abdomen_brain"
DATA = "Synapse, FPN"
LATER = "Synapse after 6000 steps, FPN"
FROZEN, FROZEN_LATE = "frozen", "frozen, last fifth"
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
SCORES = ("before", "after", "Dice [95 % CI]", "verdict")
HEAD = ("stage 1", "share", "arm, less", *SCORES, "HD95, mm [95 % CI]", "HD95, voxels", "ECE",
        f"{FEW} smallest organs less {FEW} largest")  # fmt: skip

TITLE = """# Organs of the abdomen, and brain tumours

`make docs` makes this page from the [rows](../research/rows/abdomen_brain) of the suite
[abdomen_brain](../research/suites/abdomen_brain.yaml); change no number by hand. 12 test volumes
of Synapse are evaluated in 3-D: mean Dice before and after, and differences of Dice, HD95 and
calibration error (lower is better), with a 95 % bootstrap interval over patients. An organ that is
missed has Dice 0 and the volume's diagonal as HD95.

The networks are small (width 16, EfficientNet-Lite0 with ImageNet's weights, slices of 128x128) and
trained for minutes on one core, on slices of 257x257 that are near, but not equal, to those of
published results: do not compare them. "Segmentor alone" is trained on for as many FLOPs. Share
is that of stage 2 in all FLOPs. The last column is the gain on the smallest organs less that on the
largest."""

STAGES = {"1,200 steps": (DATA, FROZEN), "6,000 steps": (LATER, FROZEN_LATE)}
COMPARISONS = {
    "frozen, its own prior": (True, None),
    "frozen, segmentor alone": (True, SEGMENTOR_ONLY),
    "hybrid, its own prior": (False, None),
    "hybrid, segmentor alone": (False, SEGMENTOR_ONLY),
}
WHY_TEXT = """Why it gains little after 6,000 steps:
[pictures](../research/method/case_pictures.py) of the best, median and worst case, frozen against
segmentor alone, show whole organs wrong, such as a stomach full of contrast medium taken for liver,
bowel taken for stomach, or a pancreas that is missed. The refiner takes these mistakes over from
its prior. Its own changes are a pixel or two at borders."""
ORGANS_TEXT = """Differences in Dice of single organs, smallest first:"""


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
CLINICS_HEAD = ("kept out", "tested on", "n", "arm, less", *SCORES, "HD95, px [95 % CI]", "ECE")
SIZES_TEXT = "Dice of single tumours by their size in a slice, the hybrid less the segmentor alone:"
SIZES_HEAD = ("kept out", "tested on", "tumour", "slices", "before", "after", "Dice [95 % CI]")


def main() -> None:
    results = read_suites()[SUITE]
    found = find_comparisons(results)
    parts = [TITLE, "## Abdomen", markdown(HEAD, list(stage_lines(results, found)))]
    for stage in STAGES:
        columns = {name: summarise(cases) for (at, name), cases in found.items() if at == stage}
        if columns:
            head = ("organ", *(f"{stage}, {name}" for name in columns))
            parts += [ORGANS_TEXT, markdown(head, list(organ_lines(list(columns.values()))))]
    parts.append(WHY_TEXT)
    lines = list(clinic_lines(results))
    if lines:
        parts += [CLINICS_TEXT, markdown(CLINICS_HEAD, lines), *describe_clinics(results)]
        parts += [SIZES_TEXT, markdown(SIZES_HEAD, list(size_lines(results)))]
    write_text(DOCS / "organs.md", *parts)


def find_comparisons(results: Results) -> dict[tuple[str, str], list[CaseRow]]:
    """Return the cases of each comparison that has rows, by length of stage 1 and name."""
    found = {}
    for stage, (data, frozen) in STAGES.items():
        for name, (leaves_segmentor, rival) in COMPARISONS.items():
            cases = find_cases(results, frozen if leaves_segmentor else HYBRID, rival, data)
            if cases:
                found[stage, name] = cases
    return found


def stage_lines(
    results: Results, found: dict[tuple[str, str], list[CaseRow]]
) -> Iterator[tuple[object, ...]]:
    """Return a line for each comparison, with the means over all organs."""
    for (stage, name), cases in found.items():
        leaves_segmentor, _ = COMPARISONS[name]
        data, frozen = STAGES[stage]
        share = stage2_share(results, data, frozen if leaves_segmentor else HYBRID)
        summary = summarise(cases)
        others = [difference_of(summary, metric) for metric in ("hd95", "hd95_voxels", "ece")]
        yield (stage, share, name, *dice_cells(summary), *others, describe_sizes(cases))


def stage2_share(results: Results, data: str, arm: str) -> str:
    """Return the share of an arm's training FLOPs that stage 2 took, in percent."""
    row = next(row for row in results.latest() if (row["data"], row["arm"]) == (data, arm))
    flops = row["flops"]
    return f"{100 * (1 - flops[STAGE1] / sum(flops.values())):.0f} %"


def dice_cells(summary: Summary) -> tuple[str, ...]:
    """Return the cells of SCORES."""
    dice = summary.entry(MEAN, "dice")
    return (
        *(format_mean("dice", mean) for mean in (dice.prior, dice.refined)),
        format_interval("dice", dice.difference, signed=True),
        verdict(dice),
    )


def difference_of(summary: Summary, metric: str, class_name: str = MEAN) -> str:
    """Return a difference with its interval; a dash where it was not measured."""
    if metric not in summary.metrics:
        return "-"
    return format_interval(metric, summary.entry(class_name, metric).difference, signed=True)


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
                others = [difference_of(summary, metric) for metric in ("hd95", "ece")]
                yield (clinic, place, summary.num_groups, name, *dice_cells(summary), *others)


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


def organ_lines(summaries: Sequence[Summary]) -> Iterator[tuple[object, ...]]:
    """Return a line for each organ, and one for their mean."""
    for organ in (*ORGANS, MEAN):
        yield organ.replace("_", " "), *(difference_of(each, "dice", organ) for each in summaries)


def describe_sizes(cases: list[CaseRow]) -> str:
    """Return by how much the gain on the smallest organs exceeds that on the largest."""
    large, small = (
        gains([row for row in cases if row["class"] in organs], "dice")
        for organs in (ORGANS[-FEW:], ORGANS[:FEW])
    )
    entry = paired_gap(large, small, "dice")
    assert entry is not None  # there are 12 patients
    return f"{format_interval('dice', entry.difference, signed=True)} ({verdict(entry)})"


if __name__ == "__main__":
    main()
