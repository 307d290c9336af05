"""What a data set holds and what is wrong with it, found before hours of training are spent."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from hidiff.datasets.case import Case
from hidiff.images.intensity import Intensity
from hidiff.images.voxels import Nan
from hidiff.inspection.findings import DataReport, Finding, MaskValue
from hidiff.inspection.tally import Tally
from hidiff.labels import Labels

MOST_CLASSES = 32  # more values than that in masks of unknown classes: greys, not classes


def check_cases(
    place: str,
    splits: Mapping[str, Sequence[Case]],
    *,
    labels: Labels | None = None,
    channels: int | None = None,
    intensity: Intensity | None = None,
    nan: Nan = "refused",
    done: Callable[[], object] = lambda: None,
) -> DataReport:
    """Read every image and mask once, and tell what they hold.

    What is None is not known yet: it is told what the files would allow. `done` is called after
    each case.
    """
    report = DataReport(place)
    tally = Tally(labels, channels, intensity, nan)
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
    total = max(sum(tally.pixels.values()), 1)
    report.values = [
        MaskValue(value, count / total, tally.masks[value])
        for value, count in tally.pixels.most_common()
    ]
    report.reading = _reading(labels, tally)
    report.findings += tally.findings()
    if not any(splits.values()):
        report.findings.append(Finding("stop", "there is no case to train on."))
    return report


def _reading(labels: Labels | None, tally: Tally) -> str:
    """What the masks' values are taken for; of unknown classes, what to write in the recipe."""
    values = sorted(tally.pixels)
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
    above = [value for value in values if value]
    if not above:
        return ""
    if len(above) == 1 or (tally.single and tally.single <= {1, 255, 65535}):
        known = ", ".join(f"{value:g}" for value in above)
        words = (
            f"0 is background, {known} one class: kind: one_class, classes: {{object: [{known}]}}"
        )
        return words + (
            "" if len(above) == 1 else "; masks of 0/1 and of 0/255 are both read right"
        )
    if len(values) > MOST_CLASSES:
        return (
            f"{len(values)} values up to {max(values):g}, as JPEG leaves them: kind: one_class, "
            "classes: {object: [255]}, which cuts each mask at half of 1, 255 or 65535"
        )
    named = ", ".join(f"class_{value:g}: [{value:g}]" for value in above)
    return f"0 is background, each other value a class: kind: exclusive, classes: {{{named}}}"


def _most_first(counts: Counter) -> dict:
    return dict(counts.most_common())
