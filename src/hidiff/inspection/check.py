"""Describe a data set and find its faults before hours of training are spent."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from hidiff.datasets.case import Case
from hidiff.datasets.patients import find_torn
from hidiff.images.intensity import Intensity
from hidiff.images.voxels import Nan
from hidiff.inspection.findings import DataReport, Finding, MaskValue
from hidiff.inspection.mask_values import BOTH_WAYS, propose_labels
from hidiff.inspection.tally import Tally
from hidiff.labels import Labels


def check_cases(
    place: str,
    splits: Mapping[str, Sequence[Case]],
    *,
    labels: Labels | None = None,
    channels: int | None = None,
    intensity: Intensity | None = None,
    ignore: tuple[int, ...] = (),
    grouped: bool = False,
    nan: Nan = "refused",
    done: Callable[[], object] = lambda: None,
) -> DataReport:
    """Read every image and mask once, and report what they hold.

    For what is None, because it is not known yet, the report has what the files would allow.
    `ignore` are mask values that do not count, where `labels` are not known. `grouped` says that
    somebody has said whose the cases are. `done` is called after each case.
    """
    report = DataReport(place)
    tally = Tally(labels, channels, intensity, ignore, nan)
    for split, cases in splits.items():
        report.cases[split] = len(cases)
        report.groups[split] = len({case.group for case in cases})
        for case in cases:
            tally.look_at(case, split)
            done()
        if not cases and split != "test":
            text = f"the split {split} is empty. Share cases out to it, in lists or by fractions."
            report.findings.append(Finding("stop", text))
    report.sizes = _most_first(tally.sizes)
    report.spacings = _most_first(tally.spacings)
    report.channels = _most_first(tally.channels)
    report.types = _most_first(tally.types)
    report.mask_types = _most_first(tally.mask_types)
    total = max(sum(tally.values.pixels.values()), 1)
    report.values = [
        MaskValue(value, count / total, tally.values.masks[value])
        for value, count in tally.values.pixels.most_common()
    ]
    report.reading = _reading(labels, tally)
    report.findings += tally.findings()
    if labels is None:
        proposal = propose_labels(tally.values, tally.ignore)
        if proposal.question:
            report.findings.append(Finding("stop", proposal.question))
        if proposal.warning:
            report.findings.append(Finding("warning", proposal.warning))
    elif BOTH_WAYS in (both := propose_labels(tally.values, tally.ignore)).reading:
        report.findings.append(Finding("note", both.warning))
    report.findings += _of_names(labels, tally)
    report.findings += _of_patients(splits, tally, grouped)
    if not any(splits.values()):
        report.findings.append(Finding("stop", "there is no case to train on."))
    return report


def _of_names(labels: Labels | None, tally: Tally) -> list[Finding]:
    """Return what contradicts the classes in the names, colours and places that values have."""
    doubts = [
        Finding("warning", f"{text}. Look at both, and save the masks with one palette.")
        for text in tally.values.recoloured[:1]
    ]
    if tally.values.inverted:
        doubts.append(Finding("warning", f"{tally.values.inverted}. Check them."))
    if labels is None:
        return doubts
    found = doubts + [
        Finding("stop", f"the same value has several names: {clash}. Export the masks again.")
        for clash in tally.values.clashes[:1]
    ]
    wanted = {value: name for name, values in labels.classes.items() for value in values}
    return found + [
        Finding(
            "warning",
            f"the value {value} is called {name} in the masks' files, but {wanted[value]} in the "
            "recipe. Check the order of the values in labels.classes.",
        )
        for value, name in tally.values.names.items()
        if labels.kind != "regions" and _plain(name) != _plain(wanted.get(value, name))
    ]


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _of_patients(
    splits: Mapping[str, Sequence[Case]], tally: Tally, grouped: bool
) -> list[Finding]:
    """Return warnings of cases that may be of one patient, where each counts as its own."""
    if grouped:
        return []
    if (found := find_torn(splits)) is not None:
        patients, torn = found
        return [Finding("warning", patients.warning(torn), torn)]
    cases = [case for side in splits.values() for case in side]
    alone = len({case.group for case in cases}) == len(cases)
    text = tally.neighbours.sentence() if alone else ""
    return [Finding("warning", f"{text}.")] if text else []


def _reading(labels: Labels | None, tally: Tally) -> str:
    """Return what the masks' values mean; for unknown classes, what to write in a recipe."""
    if labels is not None and labels.kind == "one_class":
        (name,) = labels.class_names
        words = [
            f"{count} masks at their word: {', '.join(map(str, labels.classes[name]))} is {name}"
            if cut is None
            else f"{count} masks cut: above {cut:g} is {name}"
            for cut, count in tally.cuts.most_common()
        ]
        return "; ".join(words)
    if labels is not None:
        classes = [f"{', '.join(map(str, each))} is {n}" for n, each in labels.classes.items()]
        return "; ".join(["0 is background", *classes])
    return propose_labels(tally.values, tally.ignore).reading


def _most_first(counts: Counter) -> dict:
    return dict(counts.most_common())
