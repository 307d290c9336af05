"""What `hidiff predict` is given: images one by one, channel by channel, and folders of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hidiff.cli.errors import Mistake
from hidiff.cli.say import warn

if TYPE_CHECKING:
    from hidiff.images import ImageFiles

ENDINGS = {"nifti": ".nii.gz", "dicom": ".dcm"}  # of formats that are called otherwise
CHANNEL = re.compile(r"(.+)_\d{4}")  # nnU-Net's: a file a channel, CASE_0000, CASE_0001, ...


@dataclass(frozen=True)
class Input:
    """One image to predict; its results are named by the stem."""

    stem: str
    image: "ImageFiles"
    is_volume: bool

    @property
    def file(self) -> Path:
        """The image's, of several the first."""
        return Path(self.image[0] if isinstance(self.image, tuple) else self.image)


def find_inputs(places: Sequence[Path]) -> list[Input]:
    """The images given, and those that lie in the folders given (not deeper), by name.

    A folder of DICOM is one volume. Volumes that are called CASE_0000, CASE_0001 and so on are the
    channels of one.
    """
    from hidiff.images import is_dicom, is_volume, volume_stem

    inputs, channels = [], {}
    for path in dict.fromkeys(_find_files(places)):
        if not is_volume(path):
            inputs.append(Input(path.stem, path, is_volume=False))
            continue
        stem = volume_stem(path)
        numbered = None if is_dicom(path) else CHANNEL.fullmatch(stem)
        if numbered is None:
            inputs.append(Input(stem, path, is_volume=True))
        else:
            channels.setdefault((path.parent, numbered.group(1)), []).append(path)
    for (_, stem), files in channels.items():
        files = sorted(files)
        inputs.append(Input(stem, files[0] if len(files) == 1 else tuple(files), is_volume=True))
    check_stems(inputs)
    return inputs


def _find_files(places: Sequence[Path]) -> list[Path]:
    from hidiff.images import is_dicom, is_volume
    from hidiff.images.pictures import ARRAYS, PICTURES

    found: list[Path] = []
    for place in places:
        if place.is_file() or (place.is_dir() and is_dicom(place)):
            found.append(place)
        elif place.is_dir():
            files = sorted(f for f in place.iterdir() if f.is_file() and f.name[0] != ".")
            images = [f for f in files if f.suffix.lower() in PICTURES + ARRAYS or is_volume(f)]
            if not images:
                raise FileNotFoundError(
                    f"{place} holds no image ({', '.join(PICTURES + ARRAYS)}) and no volume. "
                    "Folders below it are not looked into: name them too."
                )
            if len(files) > len(images):
                warn(f"{len(files) - len(images)} files of {place} are no images: passed over.")
            found += images
        else:
            raise FileNotFoundError(f"nothing lies at {place}. Check the path.")
    return found


def check_stems(inputs: Sequence[Input]) -> None:
    """Results are named by the image's stem: two of one would overwrite each other."""
    first: dict[str, Input] = {}
    for each in inputs:
        other = first.setdefault(each.stem, each)
        if other is not each:
            raise Mistake(
                f"{other.file} and {each.file} would both be written as "
                f"{each.stem}. Predict them into two folders."
            )


def check_free(output: Path, inputs: Sequence[Input], formats: Sequence[str]) -> None:
    """Raise FileExistsError if a result is there already, before any work is done."""
    names = [file.name for file in output.iterdir()] if output.is_dir() else []
    there = set()
    for format in formats:
        kind = ENDINGS.get(format, f".{format}")
        ends = [name.removesuffix(kind) for name in names if name.endswith(kind)]
        there |= {re.sub(r"_labels(_.*)?$", "", end) for end in ends}
    taken = [each.stem for each in inputs if each.stem in there]
    if taken:
        raise FileExistsError(
            f"{output} holds results of {len(taken)} of these {len(inputs)} images already, "
            f"{taken[0]} among them. Replace them with --overwrite, or choose another --output."
        )
