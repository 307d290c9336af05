"""Predict one image and write its masks; report in the end which images failed."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
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
    """Formats of the files that a prediction becomes."""

    PNG = "png"
    TIFF = "tiff"
    NPZ = "npz"
    NIFTI = "nifti"
    DICOM = "dicom"


class Unreadable(Exception):
    """An image that could not be predicted: told at the end, while the others go on."""


def choose_formats(image: Input, asked: Sequence[Format]) -> tuple[str, ...]:
    """Return the formats asked for that the masks of an image can have, or the usual one."""
    known = image.format.outputs
    fitting = tuple(format.value for format in asked if format.value in known)
    if asked and not fitting:
        others = "; DICOM SEG is written beside DICOM only" if Format.DICOM in asked else ""
        raise Mistake(
            f"the masks of {image.file} can become {', '.join(known)}, not "
            f"{', '.join(format.value for format in asked)}{others}. Add one of them with --format."
        )
    return fitting or known[:1]


def predict_image(
    predictor: "Predictor",
    image: Input,
    output: Path,
    formats: Sequence[str],
    keep: Mapping[str, bool],
    changes: Mapping[str, Any],
    done: Callable[[float], object] = lambda share: None,
) -> None:
    """Predict one image and write its masks; `keep` says what else is written.

    Probabilities of a volume lie on the disk until they are written.
    """
    from hidiff.prediction.writers import write_prediction

    with ExitStack() as stack:
        kept: dict[str, Any] = {}
        if keep.get("probability"):
            output.mkdir(parents=True, exist_ok=True)
            scratch = stack.enter_context(tempfile.TemporaryDirectory(dir=output, prefix="."))
            kept = {"keep_probability": True, "scratch": Path(scratch)}
        try:
            prediction = predictor.predict(
                image.image, name=image.stem, done=done, **kept, **changes
            )
        except FAILURES as error:
            raise Unreadable(str(error)) from error
        write_prediction(
            prediction,
            output,
            stem=image.stem,
            formats=formats,
            uncertainty=keep.get("uncertainty", False),
            overwrite=keep.get("overwrite", False),
        )


def report(failures: Sequence[str], num_images: int, output: Path) -> None:
    """Print how many images are done and which failed; the exit code follows from that."""
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
