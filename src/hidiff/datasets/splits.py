"""Splits into training, validation and test, by seed or by lists; no group is in two of them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hidiff.datasets.case import Case, MissingSplit
from hidiff.images.files import DataError
from hidiff.seeding import generator

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class Splitting(BaseModel):
    """The rule that splits cases if the data set has no split of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, description="seed of the random split")
    validation_cases: int | None = Field(
        default=None,
        ge=0,
        description="sets without a validation split (drive, chase_db1, synapse): cases held "
        "out of the training split, whole groups at a time; left out: the catalog's number",
    )
    redraw: bool = Field(
        default=False,
        description="draw a new split by `fractions` and `seed`, even if the data set has its own: "
        "for more test patients, or another draw. [0, 0, 1] makes all cases a test set for models "
        "that were trained elsewhere",
    )
    fractions: tuple[float, float, float] = Field(
        default=(0.7, 0.1, 0.2),
        description="shares of the groups for training, validation and test, for data sets "
        "without a split of their own",
    )
    group: str = Field(
        default=r"^(.*)$",
        description="folder: a regular expression with one (group) on the file's stem that finds "
        "the patient; left out: each file is its own",
    )
    only: str = Field(
        default="",
        description="a regular expression; only patients whose name it finds take part, such as "
        "those of one clinic (lgg_flair: '^TCGA_HT')",
    )
    folds: int = Field(
        default=5,
        ge=2,
        description="folds of cross-validation: parts of training and validation set",
    )
    fold: int | None = Field(
        default=None,
        ge=0,
        description="the part that validates, from 0 on, while the others train (hidiff train "
        "--fold); left out: the data set's own split",
    )

    @model_validator(mode="after")
    def _one_of_the_folds(self) -> "Splitting":
        if self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold is {self.fold}, but must be 0 to {self.folds - 1}")
        return self

    @field_validator("fractions")
    @classmethod
    def _shares(cls, fractions: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
            raise ValueError(f"fractions are {fractions}, but must be positive and sum to 1")
        return fractions

    @field_validator("only")
    @classmethod
    def _an_expression(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"only {pattern!r} is no regular expression: {error}") from None
        return pattern

    @field_validator("group")
    @classmethod
    def _one_group(cls, pattern: str) -> str:
        try:
            count = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"group {pattern!r} is no regular expression: {error}") from None
        if count != 1:
            raise ValueError(f"group {pattern!r} has {count} groups in (), but wants exactly 1")
        return pattern

    def select(self, cases: Sequence[Case]) -> list[Case]:
        """Return the cases of patients that take part. Raises MissingSplit if none does."""
        chosen = [case for case in cases if re.search(self.only, case.group)]
        if cases and not chosen:
            groups = sorted({case.group for case in cases})
            raise MissingSplit(
                f"splitting.only {self.only!r} finds none of {len(groups)} patients "
                f"({', '.join(groups[:3])}). Change it, or leave it out."
            )
        return chosen

    def group_of(self, stem: str) -> str:
        """Return the patient that a file's stem names."""
        found = re.search(self.group, stem)
        if found is None or found.group(1) is None:
            raise DataError(
                f"the group pattern {self.group!r} finds no patient in {stem!r}. "
                "Change splitting.group, or leave it out if each file is its own."
            )
        return found.group(1)


def hold_out(cases: Sequence[Case], num_cases: int, seed: int) -> tuple[list[Case], list[Case]]:
    """Return (kept, held out). Whole groups are held out until that is `num_cases` or more.

    The seed decides the order in which groups are drawn.
    """
    sizes = Counter(case.group for case in cases)
    held: set[str] = set()
    count = 0  # of the cases in `held`
    for group in _shuffled_groups(cases, seed):
        if count >= num_cases:
            break
        held.add(group)
        count += sizes[group]
    if count and count == len(cases):
        raise DataError(
            f"{num_cases} cases are to be held out of {len(cases)}, which leaves none to train on. "
            "Lower splitting.validation_cases."
        )
    return (
        [case for case in cases if case.group not in held],
        [case for case in cases if case.group in held],
    )


def split_by_group(
    cases: Sequence[Case], fractions: tuple[float, float, float], seed: int
) -> dict[Split, list[Case]]:
    """Draw shares of the groups by the seed; each share above 0 gets a group or more."""
    groups = _shuffled_groups(cases, seed)
    needed = sum(fraction > 0 for fraction in fractions)
    if len(groups) < needed:
        raise DataError(
            f"{len(cases)} cases of {len(groups)} groups cannot fill {needed} splits. "
            "Add cases, or set a fraction of splitting.fractions to 0."
        )
    counts = [max(1, round(f * len(groups))) if f > 0 else 0 for f in fractions]
    while sum(counts) != len(groups):  # rounding left one over or one short: the largest gives
        largest = counts.index(max(counts))
        counts[largest] += 1 if sum(counts) < len(groups) else -1
    ends = [sum(counts[: i + 1]) for i in range(3)]
    side = {
        group: next(split for split, end in zip(SPLITS, ends, strict=True) if place < end)
        for place, group in enumerate(groups)
    }
    return {split: [case for case in cases if side[case.group] == split] for split in SPLITS}


def fold_of(cases: Sequence[Case], folds: int, fold: int, seed: int) -> dict[Split, list[Case]]:
    """Return the split of one fold of a cross-validation.

    The seed deals the groups into `folds` parts; one part validates, the others train."""
    groups = _shuffled_groups(cases, seed)
    if len(groups) < folds:
        raise DataError(
            f"{len(cases)} cases of {len(groups)} groups cannot be {folds} folds. Lower "
            "splitting.folds, or add cases."
        )
    held = set(groups[fold::folds])
    return {
        "train": [case for case in cases if case.group not in held],
        "validation": [case for case in cases if case.group in held],
    }


def read_lists(folder: Path, cases: Sequence[Case]) -> dict[Split, list[Case]] | None:
    """Read the splits from train.txt, validation.txt and test.txt, one stem per line.

    None where no list lies in the folder. Blank lines and lines that begin with # are skipped; a
    split without a list is empty.
    """
    if not has_lists(folder):
        return None
    files: dict[Split, Path] = {split: folder / f"{split}.txt" for split in SPLITS}
    by_name = {case.name: case for case in cases}
    splits: dict[Split, list[Case]] = {
        split: _read_list(file, by_name) for split, file in files.items()
    }
    check_apart(f"the split by the lists in {folder}", splits)
    return splits


def has_lists(folder: Path) -> bool:
    """Return whether a folder has a list of any split."""
    return any((folder / f"{split}.txt").is_file() for split in SPLITS)


def _read_list(file: Path, by_name: dict[str, Case]) -> list[Case]:
    if not file.is_file():
        return []
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{file} does not read as a list ({error}), but wants one file name a line, as UTF-8. "
            "Save it anew."
        ) from None
    names = [line for line in lines if line and not line.startswith("#")]
    names = [unicodedata.normalize("NFC", name) for name in names]  # as those of files
    for name in names:
        if "/" in name or "\\" in name or name in (".", ".."):
            raise DataError(
                f"{file} lists {name!r}, but wants file names without folder or suffix: "
                "a list may not lead out of the data folder."
            )
        if name not in by_name:
            raise DataError(
                f"{file} lists {name!r}, but images/ holds no such file. "
                f"It holds {', '.join(sorted(by_name)[:3])} and so on. Mend the list."
            )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{file} lists {twice!r} twice. Take one out.")
    return [by_name[name] for name in names]


def check_apart(place: str, splits: Mapping[Split, Sequence[Case]]) -> None:
    """Raise DataError for a group that is in two splits."""
    side: dict[str, str] = {}
    for split, cases in splits.items():
        for case in cases:
            other = side.setdefault(case.group, split)
            if other != split:
                raise DataError(
                    f"{place} has the group {case.group!r} in both {other} and {split} "
                    f"({case.name}): scores would be too good. Move it to one side."
                )


def _shuffled_groups(cases: Sequence[Case], seed: int) -> list[str]:
    groups = sorted({case.group for case in cases})
    order = torch.randperm(len(groups), generator=generator(seed, "split"))
    return [groups[i] for i in order.tolist()]
