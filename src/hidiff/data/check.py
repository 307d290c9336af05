"""What a data set holds and what is wrong with it, found before hours of training are spent."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hidiff.data.case import Case, DataError
from hidiff.data.catalog import find_files
from hidiff.data.intensity import Intensity, normalise
from hidiff.data.read import read_field_of_view, read_image, read_mask, read_planes
from hidiff.data.splits import Splitting, read_lists, split_by_group
from hidiff.labels import Labels

MOST_CLASSES = 32  # more values than that in masks of unknown classes: greys, not classes
ALL = "all"  # the split of cases that could not be shared out


@dataclass(frozen=True)
class Finding:
    """Something to know: `stop` is no go, `warning` is for a second look, `note` says what is."""

    level: Literal["stop", "warning", "note"]
    text: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class MaskValue:
    """A value of the mask files, and how much of it there is."""

    value: int | float
    share: float
    """of the pixels of all masks"""
    masks: int
    """that hold it"""


@dataclass
class DataReport:
    """What was found in a data set."""

    place: str
    cases: dict[str, int] = field(default_factory=dict)
    """split -> cases"""
    groups: dict[str, int] = field(default_factory=dict)
    """split -> patients"""
    sizes: dict[str, int] = field(default_factory=dict)
    """rows x columns -> images"""
    channels: dict[int, int] = field(default_factory=dict)
    """channels -> images"""
    types: dict[str, int] = field(default_factory=dict)
    """type of number -> images"""
    mask_types: dict[str, int] = field(default_factory=dict)
    """type of number -> masks"""
    values: list[MaskValue] = field(default_factory=list)
    """values of the masks, the most frequent first"""
    reading: str = ""
    """what the masks' values will be taken for"""
    findings: list[Finding] = field(default_factory=list)

    @property
    def go(self) -> bool:
        """Whether training can begin."""
        return not any(finding.level == "stop" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Plain numbers and words for a program."""
        return {"go": self.go, **asdict(self)}


def share_out_folder(
    root: Path, splitting: Splitting
) -> tuple[dict[str, list[Case]], list[Finding]]:
    """The splits of a folder of images/ and masks/, as far as it goes, and what is in the way.

    Where training would stop at the first bad thing, this goes on with all the others.
    """
    try:
        images, masks = (find_files(root / name, "(.+)") for name in ("images", "masks"))
        fields = None
        if (root / "fields_of_view").is_dir():
            fields = find_files(root / "fields_of_view", "(.+)")
    except DataError as error:
        return {}, [Finding("stop", str(error))]
    findings = _passed_over(root)
    for name, kind, others in (
        ("images", images, masks),
        ("masks", masks, images),
        *(
            ()
            if fields is None
            else (("images", images, fields), ("fields_of_view", fields, images))
        ),
    ):
        alone = sorted(kind.keys() - others.keys())
        if alone:
            files = tuple(kind[key].name for key in alone)
            text = f"{len(alone)} files of {name}/ have no partner. Add it, or take them out."
            findings.append(Finding("stop", text, files))
    groups, wrong = {}, []
    for key in images:
        try:
            groups[key] = splitting.group_of(key)
        except DataError as error:
            groups[key] = key
            wrong.append(Finding("stop", str(error)))
    findings += wrong[:1]  # the pattern is one mistake, however many names it does not fit
    cases = [
        Case(key, image, masks.get(key), fields.get(key) if fields else None, groups[key])
        for key, image in images.items()
    ]
    try:
        splits = read_lists(root, cases)
        if splits is None:
            splits = split_by_group(cases, splitting.fractions, splitting.seed)
    except DataError as error:
        return {ALL: cases}, [*findings, Finding("stop", str(error))]
    unlisted = len(cases) - sum(len(each) for each in splits.values())
    if unlisted:
        findings.append(Finding("warning", f"{unlisted} cases are in none of the lists."))
    return {str(split): listed for split, listed in splits.items()}, findings


def check_cases(
    place: str,
    splits: Mapping[str, Sequence[Case]],
    *,
    labels: Labels | None = None,
    channels: int | None = None,
    intensity: Intensity | None = None,
    done: Callable[[], object] = lambda: None,
) -> DataReport:
    """Read every image and mask once, and tell what they hold.

    What is None is not known yet: it is told what the files would allow. `done` is called after
    each case.
    """
    report = DataReport(place)
    tally = _Tally(labels, channels, intensity)
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


class _Tally:
    """What was seen so far."""

    def __init__(
        self, labels: Labels | None, channels: int | None, intensity: Intensity | None
    ) -> None:
        self.labels = labels
        self.wanted_channels = channels
        self.intensity = intensity
        self.sizes: Counter[str] = Counter()
        self.channels: Counter[int] = Counter()
        self.types: Counter[str] = Counter()
        self.mask_types: Counter[str] = Counter()
        self.pixels: Counter[float] = Counter()
        self.masks: Counter[float] = Counter()
        self.cuts: Counter[float | None] = Counter()
        self.class_masks: Counter[str] = Counter()
        self.num_masks = 0
        self.single: set[float] | None = set()  # the masks' values, as long as each has one
        self.problems: list[tuple[str, str]] = []  # file, what is wrong
        self.empty: list[str] = []
        self.seen: dict[bytes, list[tuple[str, str]]] = {}  # content -> (split, file)

    def look_at(self, case: Case, split: str) -> None:
        size = self._try(case.image, lambda: self._look_at_image(Path(case.image), split))
        if case.mask is not None:
            mask = Path(case.mask)
            self._try(mask, lambda: self._look_at_mask(mask, size))
        if case.field_of_view is not None:
            seen = Path(case.field_of_view)
            self._try(seen, lambda: _check_size(seen, read_field_of_view(seen).shape[1:], size))

    def _try(self, path: Path | str, look: Callable[[], Any]) -> Any:
        try:
            return look()
        except ValueError as error:  # DataError too
            text = str(error)
            self.problems.append(
                (Path(path).name, text if str(path) in text else f"{path}: {text}")
            )
            return None

    def _look_at_image(self, path: Path, split: str) -> tuple[int, int]:
        planes = read_planes(path)
        size = planes.shape[1], planes.shape[2]
        self.sizes[f"{size[0]}x{size[1]}"] += 1
        self.channels[planes.shape[0]] += 1
        self.types[str(planes.dtype)] += 1
        content = hashlib.blake2b(repr((planes.shape, str(planes.dtype))).encode())
        content.update(np.ascontiguousarray(planes).data)
        self.seen.setdefault(content.digest(), []).append((split, path.name))
        image = read_image(path, self.wanted_channels or planes.shape[0])
        if self.intensity is not None:
            normalise(image, self.intensity)
        return size

    def _look_at_mask(self, path: Path, size: tuple[int, int] | None) -> None:
        mask = read_mask(path)
        self.num_masks += 1
        self.mask_types[str(mask.dtype)] += 1
        values, counts = np.unique(mask, return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            self.pixels[value] += count
            self.masks[value] += 1
        above = [value for value in values.tolist() if value]
        if self.single is not None:
            self.single = self.single | set(above) if len(above) < 2 else None
        if not mask.any():
            self.empty.append(path.name)
        _check_size(path, mask.shape, size)
        if self.labels is None:
            return
        planes = self.labels.encode(mask)[self.labels.class_planes]
        self.class_masks.update(
            name for name, plane in zip(self.labels.class_names, planes, strict=True) if plane.any()
        )
        if self.labels.kind == "one_class":
            self.cuts[self.labels.cut(mask)] += 1

    def findings(self) -> list[Finding]:
        found = [Finding("stop", text, (name,)) for name, text in self.problems]
        found += self._of_channels()
        found += self._of_repeats()
        if self.empty and len(self.empty) == self.num_masks:
            found.append(Finding("stop", "every mask is empty: there is nothing to learn."))
        elif self.empty:
            text = f"{len(self.empty)} of {self.num_masks} masks are empty. Fine, if it is so."
            found.append(Finding("note", text, tuple(self.empty)))
        for name in self.labels.class_names if self.labels else ():
            if self.num_masks and not self.class_masks[name]:
                text = f"the class {name} is in no mask. Check its values in labels.classes."
                found.append(Finding("warning", text))
        return found

    def _of_channels(self) -> list[Finding]:
        deep = sorted(kind for kind in self.types if kind not in ("uint8", "bool"))
        found = []
        if self.intensity is None and deep:
            text = (
                f"some images are {', '.join(deep)}: say what white is (full_scale: 65535 "
                "for 16 bits), or use intensity.kind: zscore."
            )
            found.append(Finding("note", text))
        if self.wanted_channels is None and not set(self.channels) <= {1, 3}:
            usual = self.channels.most_common(1)[0][0]
            level = "stop" if len(self.channels) > 1 else "note"
            text = f"images have {sorted(self.channels)} channels: set data.channels to {usual}"
            found.append(
                Finding(level, text + (", and take the others out." if level == "stop" else "."))
            )
        return found

    def _of_repeats(self) -> list[Finding]:
        found = []
        for places in self.seen.values():
            names = tuple(f"{split}: {name}" for split, name in places)
            if len({split for split, _ in places}) > 1:
                text = "the same image is in two splits: scores would be too good. Keep one."
                found.append(Finding("stop", text, names))
            elif len(places) > 1:
                found.append(Finding("warning", "the same image comes more than once.", names))
        return found


def _check_size(path: Path, came: tuple[int, ...], wanted: tuple[int, int] | None) -> None:
    if wanted is not None and tuple(came) != wanted:
        raise DataError(
            f"{path} is {came[0]}x{came[1]} (rows x columns), but its image is "
            f"{wanted[0]}x{wanted[1]}. Check that they belong together, and resize one."
        )


def _passed_over(root: Path) -> list[Finding]:
    """Files that look like data to a person and not to us."""
    found = []
    for name in ("images", "masks"):
        files = [file for file in (root / name).iterdir() if not file.name.startswith(".")]
        known = set(find_files(root / name, "(.+)").values())
        others = tuple(sorted(file.name for file in files if file not in known))
        if others:
            text = f"{len(others)} files of {name}/ are of no known kind, and passed over."
            found.append(Finding("warning", text, others))
    return found


def _reading(labels: Labels | None, tally: _Tally) -> str:
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
