"""A data folder's cases by split, as far as it goes, with everything that is in the way."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hidiff.datasets.case import Case
from hidiff.datasets.channels import join_channels
from hidiff.datasets.find import find_images, find_masks, rater_folders
from hidiff.datasets.patients import propose_patients
from hidiff.datasets.splits import Splitting, has_lists, read_lists, split_by_group
from hidiff.images.files import DataError, first_file, visible_files
from hidiff.inspection.findings import Finding

ALL = "all"  # the split of cases that could not be shared out


def share_out_folder(
    root: Path, splitting: Splitting
) -> tuple[dict[str, list[Case]], list[Finding]]:
    """Return the splits of a folder of images/ and masks/, and the reasons why it cannot be split.

    Where training would stop at the first bad thing, this goes on with all the others.
    """
    try:
        images, masks = find_images(root / "images"), find_masks(root / "masks")
        fields = None
        if (root / "fields_of_view").is_dir():
            fields = find_images(root / "fields_of_view")
    except DataError as error:
        return {}, [Finding("stop", str(error))]
    findings = _passed_over(root)
    try:
        images = join_channels(images, masks)
    except DataError as error:
        findings.append(Finding("stop", str(error)))
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
            files = tuple(first_file(kind[key]).name for key in alone)
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
        if splits is None or splitting.redraw:
            known = cases if splits is None else [case for side in splits.values() for case in side]
            splits = split_by_group(known, splitting.fractions, splitting.seed)
    except DataError as error:
        return {ALL: cases}, [*findings, Finding("stop", str(error))]
    unlisted = len(cases) - sum(len(each) for each in splits.values())
    if unlisted:
        findings.append(Finding("warning", f"{unlisted} cases are in none of the lists."))
    return {str(split): listed for split, listed in splits.items()}, findings


def group_by_names(
    root: Path, splits: Mapping[str, Sequence[Case]], splitting: Splitting
) -> tuple[Splitting | None, list[Finding]]:
    """Return a splitting by the patients that names suggest, and a warning that says so.

    None where names suggest none, or where lists say how the cases are split; then the check of the
    cases warns of patients on two sides.
    """
    patients = propose_patients([case.name for side in splits.values() for case in side])
    if patients is None or has_lists(root):
        return None, []
    text = (
        f"{patients.sentence}, so all files of one are kept in one split. If that is wrong, say "
        "whose they are: --set data.splitting.group='PATTERN', '^(.*)$' if each file is its own."
    )
    return splitting.model_copy(update={"group": patients.pattern}), [Finding("warning", text)]


def _passed_over(root: Path) -> list[Finding]:
    """Return files that look like data to a person, but that HiDiff skips."""
    found = []
    for place in (root / "images", *(rater_folders(root / "masks") or [root / "masks"])):
        name = place.relative_to(root).as_posix()
        files = visible_files(place)
        known = set(find_images(place).values())
        others = tuple(sorted(file.name for file in files if file not in known))
        if others:
            text = f"{len(others)} files of {name}/ are of no known kind, and passed over."
            found.append(Finding("warning", text, others))
    return found
