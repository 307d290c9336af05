"""Tables of the models that come with HiDiff, from their facts, and when to use HiDiff at all."""

from collections.abc import Sequence
from typing import Any

from hidiff.metrics import Interval
from hidiff.models import shipped_models
from hidiff.report.format import format_interval, markdown

SHIPPED_TEXT = """## The models that come with HiDiff

Dice on data that they were neither trained nor chosen on; of marks at the size that the networks
see. "Before stage 2" is the paper's comparison: the same segmentor as stage 1 left it. "Alone" is
the fairer one: that segmentor, trained on without a refiner for the FLOPs of stage 2, at the rate
that its column names. Their [cards](models.md) have all metrics."""

SIZES_TEXT = """By size of the object: Dice of `nodules`, by pixels of the nodule; for `vessels` the
share of vessel pixels that are found, by the width of the vessel in pixels."""

MARK_COLUMNS = ("prior", "refined", "painted 3", "marked 3", "painted 10", "marked 10")


def shipped_table() -> str:
    """Return a line for each model and its test data, without and with marks of a person."""
    lines = []
    for name, test in _tests():
        dice, marks = test["metrics"]["dice"], test.get("marks")
        rivals = list(test.get("rivals", {}).values())
        lines.append(
            (
                f"{name}, {test['name']}",
                test["groups"],
                _dice(dice["prior"]),
                _dice(dice["refined"]),
                *(_rival(rivals, number) for number in range(2)),
                *(_marks(marks, number) for number in ("3", "10")),
            )
        )
    head = ("model, data", "n", "prior", "refined", "before stage 2", "alone")
    return markdown((*head, "3 marks, less painting", "10 marks, less painting"), lines)


def sizes_table() -> str:
    """Return a line for each model and size of its objects."""
    lines = [
        (
            name,
            f"{band['name']} ({band['from']:.3g} to {band['to']:.3g})",
            band["images"],
            *(f"{band[column]['mean']:.3f}" for column in MARK_COLUMNS),
        )
        for name, test in _tests()
        for band in test.get("marks", {}).get("bands", [])
    ]
    shown = (
        column.replace("marked ", "refiner, ").replace("painted ", "painted, ")
        for column in MARK_COLUMNS
    )
    return markdown(("model", "size", "images", *shown), lines)


def when_text(
    findings: Sequence[tuple[object, ...]], corrections: Sequence[tuple[object, ...]]
) -> str:
    """Return when to use HiDiff and when not, each sentence with its numbers.

    `findings` are the lines of the table of evidence, `corrections` those of the README's on marks:
    finding, data, n, seeds, difference, ...
    """
    by_finding: dict[object, list[str]] = {}
    for finding, data, n, _, difference, *rest in [*findings, *corrections]:
        rival = str(rest[0])
        key = (finding, "its own prior" if rival == "its own prior" else "equal FLOPs")
        by_finding.setdefault(key, []).append(f"{data} {difference}, n = {n}")

    def numbers(finding: str, rival: str = "equal FLOPs") -> str:
        return "; ".join(by_finding[(finding, rival)])

    yes = {
        "You correct masks by hand. Three marks beside the same brush alone": numbers(
            "three marks by hand"
        ),
        "Your segmentor cannot be trained any more. Refined less its prior": numbers(
            "segmentor of another data set, frozen", "its own prior"
        ),
        "Your segmentor's mask is coarser than the image. Refined less that segmentor, trained on "
        "for as many FLOPs": numbers("mask at a quarter of the size"),
        "You want masks that differ as readers do": numbers("16 samples against four raters"),
    }
    no = {
        "Your segmentor has full resolution and can be trained longer. Refined less that "
        "segmentor, trained on for as many FLOPs": numbers("mask at full resolution"),
        "A segmentor of other data may be trained on your data. Refined, behind it as it was, less "
        "it trained on": numbers("segmentor of another data set, frozen"),
        "You need masks of photographs like none in training, and nobody corrects them. Refined "
        "less prior, without a mark": "; ".join(
            f"{name}, {test['name']} "
            + format_interval(
                "dice", Interval(**test["metrics"]["dice"]["difference"]), signed=True
            )
            for name, test in _tests()
            if name == "vessels"
        ),
    }
    parts = ["## When to use it, and when not", "Differences in Dice. Use it if:"]
    parts += ["\n".join(f"- {words}: {shown}." for words, shown in yes.items()), "Do not, if:"]
    parts.append("\n".join(f"- {words}: {shown}." for words, shown in no.items()))
    return "\n\n".join(parts)


def _tests() -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, test) for name, model in shipped_models().items() for test in model.facts["tests"]
    ]


def _dice(interval: dict[str, Any]) -> str:
    return format_interval("dice", Interval(**interval))


def _rival(rivals: list[dict[str, Any]], number: int) -> str:
    if number >= len(rivals):
        return ""
    rate = f", rate {rivals[number]['steps']['rate']:g}" if number else ""
    return f"{rivals[number]['dice']['mean']:.3f}{rate}; refined less it {_signed(rivals[number])}"


def _marks(marks: dict[str, Any] | None, number: str) -> str:
    if marks is None:
        return ""
    gain = format_interval("dice", Interval(**marks["difference"][number]), signed=True)
    return f"{marks['dice'][f'marked {number}']['mean']:.3f}, {gain}"


def _signed(rival: dict[str, Any]) -> str:
    return format_interval("dice", Interval(**rival["difference"]), signed=True)
