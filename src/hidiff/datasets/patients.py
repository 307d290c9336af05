"""Patients proposed from the names of files, where nobody says who is whose.

Slices of one patient look alike, so they must not lie in two splits. A proposal is a guess, and is
always stated as one.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hidiff.datasets.case import Case

# A name's parts lie between these.
_BETWEEN = r"[-_. ]+"
_PART = r"[^-_. ]+"
# What precedes the number of a slice or picture; longer words first.
_WORDS = "slice|slc|sl|frame|fr|image|img|im|layer|page|view|level|tile|patch|crop|z|s|f|i"
# Patterns of one (group). Those that begin with what is no patient fit some sets of names alone;
# the others find something in every name, so that none is without a patient.
BY_LEADING_SLICE = rf"(?i)^(?:slice|slc|frame)[-_. ]*\d+{_BETWEEN}(.*\d.*)$"
BY_LEADING_DATE = rf"^(?:19|20)\d\d[01]\d[0-3]\d{_BETWEEN}({_PART})"
BY_WORD = rf"(?i)^(.*?\d.*?)(?:[-_. ]*(?:{_WORDS})[-_. ]*\d+.*)?$"
# The last digit, or the last two, count anew for each patient: 0800, 0801, 0900, 0901.
BY_LAST_DIGITS = (r"^(.*\d)\d$", r"^(.*\d)\d\d$")
BY_SIDE = r"(?i)^(.*?\d)(?:[-_. ]*(?:left|right|od|os|l|r))?$"
MOST_PARTS = 5
# Fewer groups may be hospitals or years, and cannot fill three splits.
FEWEST_PATIENTS = 3
# Mean number of files of a patient, from which on names are taken to repeat patients.
FEWEST_FILES = 1.5
EACH_FILE = r"^(.*)$"


class Patients(NamedTuple):
    """Patients that the names of files suggest."""

    pattern: str
    """for splitting.group"""
    count: int
    """number of patients"""
    files: int
    example: str
    """a name, and the patient that it is taken for"""

    def warning(self, torn: Sequence[str]) -> str:
        """Return the warning that these patients lie in several splits."""
        return (
            f"{self.sentence}, but each file counts as a patient of its own, and {len(torn)} of "
            f"them are in several splits ({torn[0]}): scores would be too good. Set "
            f"data.splitting.group to {self.pattern!r}, or mend the lists, if these are patients."
        )

    def patient_of(self, stem: str) -> str:
        """Return the patient whom a file's name suggests."""
        return _find(self.pattern, stem)

    @property
    def sentence(self) -> str:
        """Return the patients that the names suggest, in a sentence without its full stop."""
        return f"the names look like {self.count} patients in {self.files} files ({self.example})"


def propose_patients(stems: Sequence[str]) -> Patients | None:
    """Return the patients that names suggest: prefixes with a number that several names share.

    The shortest such prefix counts: it may put several patients together, but never one on two
    sides. None where every name has a prefix of its own, or all have the same.
    """
    if len(stems) < 2:
        return None
    more = [rf"(?:{_BETWEEN}{_PART}){{0,{count}}}" for count in range(1, MOST_PARTS - 1)]
    parts = [rf"^({_PART}{rest})" for rest in ("", *more)]
    for pattern in (BY_LEADING_SLICE, BY_LEADING_DATE, *parts, BY_WORD, BY_SIDE):
        groups = [_find(pattern, stem) for stem in stems]
        if _are_patients(stems, groups, pattern):
            first = next(stem for stem, group in zip(stems, groups, strict=True) if group != stem)
            example = f"{first} of {_find(pattern, first)}"
            return Patients(pattern, len(set(groups)), len(stems), example)
    return _by_last_digits(stems)


def _by_last_digits(stems: Sequence[str]) -> Patients | None:
    """Return the patients of numbers such as 0800, 0801, 0900, 0901, where a count begins anew.

    Numbers of files that merely follow one another are no such count: their last digits run to 9.
    """
    for digits, pattern in enumerate(BY_LAST_DIGITS, start=1):
        numbers: dict[str, set[int]] = {}
        for stem in stems:
            patient = _find(pattern, stem)
            if patient:
                numbers.setdefault(patient, set()).add(int(stem[-digits:]))
        enough = FEWEST_PATIENTS <= len(numbers) <= len(stems) / FEWEST_FILES
        whole = sum(map(len, numbers.values())) == len(stems)
        if enough and whole and all(_counts_anew(of, digits) for of in numbers.values()):
            example = f"{stems[0]} of {_find(pattern, stems[0])}"
            return Patients(pattern, len(numbers), len(stems), example)
    return None


def _counts_anew(numbers: set[int], digits: int) -> bool:
    """Return whether numbers are 0, 1, 2, ... or 1, 2, 3, ... and end before digits run out."""
    first = min(numbers)
    return first <= 1 and max(numbers) - first == len(numbers) - 1 and max(numbers) < 10**digits - 1


def find_torn(splits: Mapping[Any, Sequence[Case]]) -> tuple[Patients, tuple[str, ...]] | None:
    """Return the patients that names suggest, and those of them that lie in several splits.

    None where none does, or where somebody has said whose the cases are: some share a group.
    """
    cases = [case for side in splits.values() for case in side]
    if len({case.group for case in cases}) < len(cases):
        return None
    patients = propose_patients([case.name for case in cases])
    if patients is None:
        return None
    sides: dict[str, set[str]] = {}
    for split, side in splits.items():
        for case in side:
            sides.setdefault(patients.patient_of(case.name), set()).add(split)
    torn = tuple(sorted(patient for patient, places in sides.items() if len(places) > 1))
    return (patients, torn) if torn else None


def pattern_for(stems: Sequence[str], pattern: str) -> tuple[str, str]:
    """Return the pattern, or one for names that it does not fit, and a sentence that says so.

    The sentence is empty where the pattern fits.
    """
    wrong = next((stem for stem in stems if not _find(pattern, stem)), None)
    if wrong is None:
        return pattern, ""
    found = propose_patients(stems)
    begin = f"the model's group pattern {pattern!r} finds no patient in {wrong!r}"
    if found is None:
        return EACH_FILE, f"{begin}: each file is taken for a patient of its own"
    return found.pattern, f"{begin}: {found.sentence}, and are taken for them"


def _find(pattern: str, stem: str) -> str:
    found = re.search(pattern, stem)
    return (found.group(1) or "") if found else ""


def _are_patients(stems: Sequence[str], groups: Sequence[str], pattern: str) -> bool:
    counts = Counter(groups)
    if "" in counts or len(counts) < FEWEST_PATIENTS or len(stems) < FEWEST_FILES * len(counts):
        return False
    if sum(any(c.isdigit() for c in group) for group in counts) < 0.9 * len(counts):
        return False
    # what a patient's files differ in: numbers, or the two sides of a body
    rests = [stem.replace(group, "", 1) for stem, group in zip(stems, groups, strict=True)]
    numbered = sum(bool(re.search(r"\d", rest)) for rest in rests if rest)
    return pattern == BY_SIDE or numbered >= 0.8 * len(stems)
