"""The images that `hidiff predict` is given: single ones, channels of one, folders of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hidiff.cli.errors import Mistake
from hidiff.cli.say import say, warn
from hidiff.prediction.endings import file_names, stems_of

if TYPE_CHECKING:
    from hidiff.images import Format, ImageFiles

MOST_NAMED = 5  # missing channels in one message


@dataclass(frozen=True)
class Input:
    """One image to predict; its results are named by the stem."""

    stem: str
    image: "ImageFiles"
    format: "Format"
    missing: tuple[str, ...] = ()
    """names of the channels that are not there; the image cannot be predicted without them"""

    @property
    def file(self) -> Path:
        """Return the image's file, or that of its first channel."""
        return Path(self.image[0] if isinstance(self.image, tuple) else self.image)

    def check_whole(self, channels: int) -> None:
        """Raise DataError, naming the files, if channels of the image are missing."""
        from hidiff.images import DataError

        if self.missing:
            raise DataError(
                f"{self.file}: the model takes {channels} channels, but {self.stem} lacks "
                f"{', '.join(self.missing[:MOST_NAMED])}. Add the missing files, or rename the "
                "others if they are images of their own."
            )


def find_inputs(places: Sequence[Path], channels: int = 1, source: str = "") -> list[Input]:
    """Return the images given, and those in the folders given (not deeper), by name.

    A folder of DICOM is one volume. What names that end in four digits mean is decided with the
    number of `channels` that the model takes: see hidiff.images.names. Names of sequences count for
    models of a data set that has them (`source`): see hidiff.images.sequences.
    """
    from hidiff.images import format_of, name_images

    files = list(dict.fromkeys(_find_files(places)))
    cases = name_images(files, channels, source)
    if skipped := len(files) - sum(len(case.files) for case in cases):
        say(f"{skipped} files are masks of these cases: skipped.", "dim")
    inputs = [
        Input(case.stem, case.image, format_of(case.files[0]), case.missing) for case in cases
    ]
    check_stems(inputs)
    joined = [each for each in inputs if isinstance(each.image, tuple)]
    if joined:
        say(f"{len(joined)} images have a file for each of {channels} channels.", "dim")
    if inputs and all(each.missing for each in inputs):
        inputs[0].check_whole(channels)
    return inputs


def _find_files(places: Sequence[Path]) -> list[Path]:
    from hidiff.images import find_format, visible_files
    from hidiff.images.pictures import ARRAYS, PICTURES

    found: list[Path] = []
    for place in places:
        if place.name in ("", ".."):  # "." and ".." have the name of the folder that they mean
            place = place.resolve()
        if place.is_file() or (place.is_dir() and find_format(place) is not None):
            found.append(place)
        elif place.is_dir():
            files = [file for file in visible_files(place) if file.is_file()]
            images = [file for file in files if find_format(file) is not None]
            if not images:
                raise FileNotFoundError(
                    f"{place} holds no image ({', '.join(PICTURES + ARRAYS)}) and no volume. "
                    "Folders below it are not searched: name them too."
                )
            if len(files) > len(images):
                warn(f"{len(files) - len(images)} files of {place} are no images: skipped.")
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


def check_output(output: Path) -> None:
    """Raise FileExistsError if the output folder cannot be one, because it is a file."""
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"--output {output} is a file. Choose a folder.")


def check_free(output: Path, inputs: Sequence[Input], formats: Sequence[str]) -> None:
    """Raise FileExistsError if a result is there already, before any work is done."""
    names = file_names(output)
    taken = set().union(*(stems_of(names, format) for format in formats))
    stems = [image.stem for image in inputs if image.stem in taken]
    if stems:
        raise FileExistsError(
            f"{output} holds results of {len(stems)} of these {len(inputs)} images already, "
            f"{stems[0]} among them. Do the others with --continue, replace all with --overwrite, "
            "or choose another --output."
        )
