"""One image or volume predicted and written; and in the end, what failed."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hidiff.cli.errors import MISTAKE, Mistake
from hidiff.cli.inputs import Input
from hidiff.cli.say import error_console, say

if TYPE_CHECKING:
    from hidiff.prediction import Predictor

FAILED = 1  # exit code: some images could not be predicted, others are done
MOST_SHOWN = 20  # failures named at the end
# Of one image; a failure to write ends the command.
FAILURES = (ValueError, RuntimeError, MemoryError, OSError)


class Format(StrEnum):
    """What files a prediction becomes."""

    PNG = "png"
    TIFF = "tiff"
    NPZ = "npz"
    NIFTI = "nifti"
    DICOM = "dicom"


class Unreadable(Exception):
    """An image that could not be predicted: told at the end, while the others go on."""


def choose_formats(each: Input, asked: Sequence[Format]) -> tuple[str, ...]:
    """Those of the ones asked for that an image of its kind can have, or the usual one."""
    from hidiff.prediction.writers.picture import FORMATS
    from hidiff.prediction.writers.volume import VOLUME_FORMATS, usual_format

    known = VOLUME_FORMATS if each.is_volume else FORMATS
    fitting = tuple(format.value for format in asked if format.value in known)
    if asked and not fitting:
        kind = "a volume" if each.is_volume else "an image"
        raise Mistake(
            f"{each.file} is {kind}, which becomes {', '.join(known)}, not "
            f"{', '.join(format.value for format in asked)}. Add one of them with --format."
        )
    if "dicom" in fitting and usual_format(each.image) != "dicom":
        raise Mistake(
            f"{each.file} is no DICOM, but DICOM SEG is written beside DICOM only. "
            "Use --format nifti."
        )
    return fitting or ((usual_format(each.image),) if each.is_volume else ("png",))


def predict_picture(
    predictor: "Predictor",
    each: Input,
    output: Path,
    formats: Sequence[str],
    keep: Mapping[str, bool],
    changes: Mapping[str, Any],
    done: Callable[[float], object],
) -> None:
    """Predict one image, and write all its maps."""
    from hidiff.prediction.writers import picture as write

    try:
        prediction = predictor.predict(each.image, **changes)
    except FAILURES as error:
        raise Unreadable(str(error)) from error
    write.write_prediction(
        prediction,
        output,
        stem=each.stem,
        formats=formats,
        plane_names=predictor.labels.plane_names,
        overwrite=keep["overwrite"],
    )


def predict_volume(
    predictor: "Predictor",
    each: Input,
    output: Path,
    formats: Sequence[str],
    keep: Mapping[str, bool],
    changes: Mapping[str, Any],
    done: Callable[[float], object],
) -> None:
    """Predict one volume; its probabilities lie on the disk until they are written."""
    from hidiff.prediction.writers.volume import write_volume

    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=".") as scratch:
        try:
            prediction = predictor.predict_volume(
                each.image,
                name=each.stem,
                keep_probability=keep["probability"],
                scratch=Path(scratch),
                done=done,
                **changes,
            )
        except FAILURES as error:
            raise Unreadable(str(error)) from error
        write_volume(
            prediction,
            output,
            stem=each.stem,
            source=each.image,
            labels=predictor.labels,
            formats=formats,
            uncertainty=keep["uncertainty"],
            overwrite=keep["overwrite"],
        )


def report(failures: Sequence[str], num_images: int, output: Path) -> None:
    """Tell how many images are done, and name what failed on stderr: then the command ends so."""
    num_done = num_images - len(failures)
    say(f"{num_done} of {num_images} images are done: {output}")
    if not failures:
        return
    error_console.print(f"{len(failures)} failed:", style="bold red")
    for failure in failures[:MOST_SHOWN]:
        error_console.print(f"  {failure}", soft_wrap=True, markup=False)
    if len(failures) > MOST_SHOWN:
        error_console.print(f"  and {len(failures) - MOST_SHOWN} more")
    raise typer.Exit(FAILED if num_done else MISTAKE)
