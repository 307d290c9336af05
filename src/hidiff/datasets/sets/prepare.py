"""A publisher's download -> a folder that training reads: whole or not at all, and once only."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from hidiff.datasets.case import Case
from hidiff.datasets.catalog import CATALOG, Contents
from hidiff.datasets.sets.lidc import write_lidc
from hidiff.datasets.sets.synapse import write_synapse
from hidiff.datasets.sets.synthetic import new_folder
from hidiff.datasets.splits import SPLITS, Split, Splitting, check_apart
from hidiff.images.files import DataError

PREPARED_FILE = "prepared.json"


@dataclass(frozen=True)
class Preparer:
    """The way from a download to a folder that training reads."""

    source: str
    """the download that is wanted, in words"""
    write: Callable[[Path, Path], None]
    """(source, new folder): writes what the catalog's layout reads"""


@dataclass(frozen=True)
class Prepared:
    """The contents of a folder that training reads."""

    folder: Path
    found: dict[str, int]
    """split -> cases; groups; raters"""
    missing: list[str]
    """the difference from the whole set: "cases: 12, but the set holds 1340" """
    written: bool
    """now; else it was there, or the download is read as it is"""


def prepare(name: str, source: Path, folder: Path) -> Prepared:
    """Make a data set's download ready for training; a second time it is only counted.

    Nothing is written of a set that is read as it was downloaded. Raises DataError for a download
    that does not read, and for a folder that holds anything else.
    """
    if not source.exists():
        wanted = PREPARERS[name].source if name in PREPARERS else CATALOG[name].layout
        raise DataError(f"{source} is not there. Wanted is {wanted}.")
    if name not in PREPARERS:
        return _count(name, source, written=False)
    record = {"name": name, "source": fingerprint(source)}
    if (folder / PREPARED_FILE).is_file():
        if _read_record(folder / PREPARED_FILE) != record:
            raise DataError(
                f"{folder} was prepared from other files. Remove it, or choose another folder."
            )
        return _count(name, folder, written=False)
    with new_folder(folder) as made:
        PREPARERS[name].write(source, made)
        _count(name, made, written=True)  # reads, before it appears
        text = json.dumps(record, indent=2) + "\n"
        (made / PREPARED_FILE).write_text(text, encoding="utf-8")
    return _count(name, folder, written=True)


def _count(name: str, folder: Path, *, written: bool) -> Prepared:
    cases: dict[Split, list[Case]] = {split: _cases_of(name, folder, split) for split in SPLITS}
    everyone = [case for each in cases.values() for case in each]
    counted = Contents(
        len(everyone),
        len({case.group for case in everyone}),
        max((len(case.masks) for case in everyone), default=0),
    )
    check_apart(str(folder), cases)
    holds = CATALOG[name].holds
    found, wanted = asdict(counted), asdict(holds or counted)
    missing = [
        f"{kind}: {found[kind]}, but the whole set holds {count}"
        for kind, count in wanted.items()
        if found[kind] != count
    ]
    return Prepared(
        folder, {**{split: len(each) for split, each in cases.items()}, **found}, missing, written
    )


def _cases_of(name: str, folder: Path, split: Split) -> list[Case]:
    """List the cases of each split.

    A split may be empty: an incomplete set is reported, not refused.
    """
    return list(CATALOG[name].list_cases(folder, split, Splitting()))


def fingerprint(source: Path) -> str:
    """Hash the names and sizes of a download's files; their contents may be terabytes."""
    folder = source if source.is_dir() else source.parent
    files = sorted(filter(Path.is_file, source.rglob("*"))) if source.is_dir() else [source]
    lines = [f"{file.relative_to(folder).as_posix()} {file.stat().st_size}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _read_record(file: Path) -> object:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file} does not read ({error}), so nobody knows what the folder holds. Remove the "
            "folder, and prepare it again."
        ) from None


PREPARERS: dict[str, Preparer] = {
    "lidc": Preparer("nodules_4raters.npz, or its folder", write_lidc),
    "synapse": Preparer("TransUNet's folder, with train_npz/, test_vol_h5/, lists/", write_synapse),
}
