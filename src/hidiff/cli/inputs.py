"""The images that `hidiff predict` is given: single ones, channels of one, folders of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hidiff.cli.errors import Mistake
from hidiff.cli.say import warn

if TYPE_CHECKING:
    from hidiff.images import Format, ImageFiles

CHANNEL = re.compile(r"(.+)_\d{4}")  # nnU-Net's: a file a channel, CASE_0000, CASE_0001, ...


@dataclass(frozen=True)
class Input:
    """One image to predict; its results are named by the stem."""

    stem: str
    image: "ImageFiles"
    format: "Format"

    @property
    def file(self) -> Path:
        """The image's file, or that of its first channel."""
        return Path(self.image[0] if isinstance(self.image, tuple) else self.image)


def find_inputs(places: Sequence[Path]) -> list[Input]:
    """Return the images given, and those in the folders given (not deeper), by name.

    A folder of DICOM is one volume. Volumes that are called CASE_0000, CASE_0001 and so on are the
    channels of one.
    """
    from hidiff.images import format_of

    inputs, channels = [], {}
    for path in dict.fromkeys(_find_files(places)):
        format = format_of(path)
        stem = format.stem(path)
        numbered = CHANNEL.fullmatch(stem) if format.numbers_channels else None
        if numbered is None:
            inputs.append(Input(stem, path, format))
        else:
            channels.setdefault((path.parent, numbered.group(1)), []).append(path)
    for (_, stem), files in channels.items():
        files = sorted(files)
        image = files[0] if len(files) == 1 else tuple(files)
        inputs.append(Input(stem, image, format_of(image)))
    check_stems(inputs)
    return inputs


def _find_files(places: Sequence[Path]) -> list[Path]:
    from hidiff.images import find_format
    from hidiff.images.pictures import ARRAYS, PICTURES

    found: list[Path] = []
    for place in places:
        if place.is_file() or (find_format(place) is not None and place.is_dir()):
            found.append(place)
        elif place.is_dir():
            inside = sorted(place.iterdir())
            files = [file for file in inside if file.is_file() and file.name[0] != "."]
            images = [file for file in files if find_format(file) is not None]
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
    """Raise Mistake for two images of one stem, whose results would overwrite each other."""
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
    from hidiff.prediction.writers import WRITERS

    taken = set().union(*(WRITERS[format].taken(output) for format in formats))
    stems = [image.stem for image in inputs if image.stem in taken]
    if stems:
        raise FileExistsError(
            f"{output} holds results of {len(stems)} of these {len(inputs)} images already, "
            f"{stems[0]} among them. Replace them with --overwrite, or choose another --output."
        )
