"""The files of a folder by the key in their names, and images put together with their masks."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

from hidiff.datasets.case import Case, MissingSplit
from hidiff.images.files import DataError, ImageFiles, MaskFiles, first_file, visible_files
from hidiff.images.formats import find_format, find_mixture, format_of, image_stem
from hidiff.images.pictures import ARRAYS, PICTURES


def find_files(folder: Path, pattern: str) -> dict[str, Path]:
    """Find image and array files of a folder, by key.

    The key is the (group) that the pattern finds in their stem.

    Hidden files and those of other kinds are passed over.
    """
    found: dict[str, Path] = {}
    for file in _seen(folder):
        match = re.fullmatch(pattern, file.stem)
        if match and file.suffix.lower() in PICTURES + ARRAYS:
            _add(found, match.group(1), file)
    if not found:
        raise DataError(f"{folder} holds no image of a name like {pattern}. Check the path.")
    return found


def find_images(folder: Path) -> dict[str, Path]:
    """Return the images of a folder by stem: all pictures, or all volumes; arrays go with either.

    A folder of DICOM in it is one volume. Raises DataError for pictures beside volumes.
    """
    files = [file for file in _seen(folder) if find_format(file) is not None]
    arrays = [file for file in files if file.suffix.lower() in ARRAYS]
    others = [file for file in files if file.suffix.lower() not in ARRAYS]
    mixture = find_mixture(others)
    if mixture is not None:
        first, second = mixture
        raise DataError(
            f"{folder} holds {format_of(first).plural} ({first.name}) and "
            f"{format_of(second).plural} ({second.name}), but one kind is wanted. Keep them in two "
            "data sets."
        )
    found: dict[str, Path] = {}
    for file in [*others, *arrays]:
        _add(found, image_stem(file), file)
    if not found:
        raise DataError(
            f"{folder} holds no picture, array or volume. Check the path, and the files' endings."
        )
    return found


def _seen(folder: Path) -> list[Path]:
    """Return what lies in a folder, without hidden files and the system's own."""
    if not folder.is_dir():
        raise DataError(
            f"no folder at {folder.absolute()}. Check the path: it must lead to the data set's "
            "own folder, unpacked as its publisher packed it."
        )
    return visible_files(folder)


def _add(found: dict[str, Path], key: str, file: Path) -> None:
    # Archives of a Mac take letters such as ü apart, which nobody can see.
    key = unicodedata.normalize("NFC", key)
    if key in found:
        raise DataError(
            f"{file.parent} holds both {found[key].name} and {file.name}, but one of them is "
            "wanted. Take one out."
        )
    found[key] = file


def find_part(root: Path, name: str) -> Path:
    """Return the folder of a split, if the data set has one for it."""
    folder = root / name
    if not folder.is_dir():
        raise MissingSplit(
            f"no folder at {folder.absolute()}. Check the path: it must lead to the data set's own "
            "folder, unpacked as its publisher packed it."
        )
    return folder


def find_folders(root: Path, pattern: str) -> list[Path]:
    """Find the folders in a folder whose whole name fits a pattern, by name."""
    places = visible_files(root) if root.is_dir() else []
    found = [each for each in places if each.is_dir() and re.fullmatch(pattern, each.name)]
    if not found:
        raise DataError(
            f"{root} holds no folder of a name like {pattern}. Check the path: it must lead to "
            "the data set's own folder, unpacked as its publisher packed it."
        )
    return found


def find_masks(folder: Path) -> dict[str, MaskFiles]:
    """Find the masks of a folder by stem; a folder that holds only folders has one for each rater.

    A folder per rater, rather than a name's ending: a mask is then called as its image, whatever
    that is, and a rater is added or left out as a whole.
    """
    raters = rater_folders(folder)
    if not raters:
        return dict(find_images(folder))
    readings = [find_images(rater) for rater in raters]
    for reading in readings[1:]:
        _check_same_keys(readings[0], reading)
    return {key: tuple(reading[key] for reading in readings) for key in readings[0]}


def rater_folders(folder: Path) -> list[Path]:
    """Return the folders of several raters' masks; empty if the masks lie in the folder itself."""
    inside = visible_files(folder) if folder.is_dir() else []
    return inside if all(path.is_dir() for path in inside) else []


def pair(
    images: Mapping[str, ImageFiles],
    masks: Mapping[str, MaskFiles],
    fields: Mapping[str, Path] | None,
    *,
    group_of: Callable[[str], str],
) -> list[Case]:
    """Pair images and masks by key; a file without a partner is an error that names it."""
    _check_same_keys(images, masks)
    if fields is not None:
        _check_same_keys(images, fields)
    return [
        Case(
            name=key,
            image=images[key],
            mask=masks[key],
            field_of_view=None if fields is None else fields[key],
            group=group_of(key),
        )
        for key in sorted(images)
    ]


def _check_same_keys(
    images: Mapping[str, ImageFiles | MaskFiles], partners: Mapping[str, ImageFiles | MaskFiles]
) -> None:
    ours, theirs = (first_file(next(iter(files.values()))).parent for files in (images, partners))
    for left, right, where in ((images, partners, theirs), (partners, images, ours)):
        alone = [first_file(left[key]) for key in sorted(left.keys() - right.keys())]
        if alone:
            names = ", ".join(file.name for file in alone[:5]) + (", ..." if alone[5:] else "")
            raise DataError(
                f"{len(alone)} files of {alone[0].parent} have no partner in {where}: {names}. "
                "Add the missing ones, or take these out."
            )
