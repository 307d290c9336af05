"""nnU-Net's raw layout: dataset.json, imagesTr/, labelsTr/, and perhaps imagesTs/ and labelsTs/.

https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hidiff.datasets.case import Case
from hidiff.images.files import DataError, visible_files
from hidiff.images.pictures import PICTURES
from hidiff.labels import BACKGROUND, Labels

DATASET_FILE = "dataset.json"
MOST_NAMED = 10  # missing files


@dataclass(frozen=True)
class NnunetDataset:
    """The contents of dataset.json."""

    root: Path
    channel_names: tuple[str, ...]
    labels: Labels
    file_ending: str


def is_nnunet(root: Path) -> bool:
    """Return True if a folder has nnU-Net's layout."""
    return (root / DATASET_FILE).is_file() and (root / "imagesTr").is_dir()


def read_dataset(root: Path) -> NnunetDataset:
    """Read dataset.json. Raises DataError, naming it, for one that does not hold what it should."""
    file = root / DATASET_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
        channels, labels = content["channel_names"], content["labels"]
        ending = content["file_ending"]
        names = tuple(str(channels[str(number)]) for number in range(len(channels)))
        labels = dict(labels)
        if labels and all(str(key).isdigit() and isinstance(labels[key], str) for key in labels):
            labels = {name: int(number) for number, name in labels.items()}  # as of version 1
    except OSError as error:
        raise DataError(
            f"{file} cannot be read ({error}). nnU-Net's raw layout has it beside imagesTr/."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{file} does not read as nnU-Net's dataset.json ({type(error).__name__}: {error}). "
            'It must hold "channel_names", "labels" and "file_ending", of version 2.'
        ) from None
    return NnunetDataset(root, names, _labels(file, labels), str(ending))


def _labels(file: Path, values: Mapping[str, Any]) -> Labels:
    """Return regions if a name stands for several values, else exclusive classes, or one."""
    classes = {
        name: tuple(value) if isinstance(value, list) else (value,)
        for name, value in values.items()
        if str(name).lower() != BACKGROUND
    }
    ignore = classes.pop("ignore", ())  # nnU-Net's own word
    regions = any(isinstance(value, list) for value in values.values())
    kind = "regions" if regions else "exclusive" if len(classes) > 1 else "one_class"
    try:
        return Labels.model_validate({"kind": kind, "classes": classes, "ignore": ignore})
    except ValueError as error:
        raise DataError(f"{file} has labels that do not hold: {error}") from None


def list_nnunet(
    root: Path, part: str, group_of: Callable[[str], str] = str, has_spacing: bool = True
) -> list[Case]:
    """List the cases of "Tr" or "Ts", by name; a case has no mask only if labelsTs/ is absent."""
    dataset = read_dataset(root)
    images, labels = root / f"images{part}", root / f"labels{part}"
    ending = dataset.file_ending
    pattern = re.compile(rf"(.+)_(\d{{4}}){re.escape(ending)}")
    channels: dict[str, dict[int, Path]] = {}
    for file in visible_files(images) if images.is_dir() else ():
        found = pattern.fullmatch(file.name)
        if found:
            channels.setdefault(found.group(1), {})[int(found.group(2))] = file
    if not channels:
        raise DataError(
            f"{images} holds no file named like CASE_0000{ending}. Check the path and the "
            f"file_ending in {root / DATASET_FILE}."
        )
    _check_channels(dataset, images, channels)
    cases = []
    for name, files in channels.items():
        mask = labels / f"{name}{ending}"
        if labels.is_dir() and not mask.is_file():
            raise DataError(f"{mask} is not there, but its image is. Add the mask, or take it out.")
        ordered = tuple(files[number] for number in sorted(files))
        cases.append(
            Case(
                name,
                ordered[0] if len(ordered) == 1 else ordered,
                mask if labels.is_dir() else None,
                None,
                group_of(name),
                has_spacing,
            )
        )
    return cases


def _check_channels(
    dataset: NnunetDataset, images: Path, channels: Mapping[str, Mapping[int, Path]]
) -> None:
    """Raise DataError, naming every file of a channel that is not there."""
    ending = dataset.file_ending
    missing = [
        f"{name}_{number:04d}{ending} ({channel})"
        for name, files in channels.items()
        # of a picture in colour, one file holds all channels
        if not (ending.lower() in PICTURES and set(files) == {0})
        for number, channel in enumerate(dataset.channel_names)
        if number not in files
    ]
    if missing:
        more = f" and {len(missing) - MOST_NAMED} more" if missing[MOST_NAMED:] else ""
        raise DataError(
            f"{images} lacks {', '.join(missing[:MOST_NAMED])}{more}, but {DATASET_FILE} has these "
            "channels. Add the missing modalities, or take the cases out."
        )
