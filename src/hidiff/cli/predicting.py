"""Predict a batch of images, each by itself: those that fail are named in the end."""

import errno
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hidiff.cli.claims import SCRATCH, Claims, others_at_work
from hidiff.cli.errors import DEBUG_VARIABLE, MISTAKE, Mistake
from hidiff.cli.inputs import Input, check_free, check_output, find_inputs
from hidiff.cli.progress import progress_bar
from hidiff.cli.say import error_console, say, warn
from hidiff.cli.stopping import INTERRUPTED, TERMINATED, Terminated, terminate_by_exception
from hidiff.models import ModelHead
from hidiff.prediction.endings import NOTHING_MORE, Extras, file_names, is_finished

if TYPE_CHECKING:
    from hidiff.prediction import Predictor

FAILED = 1  # exit code: some images could not be predicted, others are done
MOST_SHOWN = 20  # failures named at the end
# Errors of writing that every further image would meet too.
NO_MORE_FILES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


class Format(StrEnum):
    """Formats of the files that a prediction becomes."""

    PNG = "png"
    TIFF = "tiff"
    NPZ = "npz"
    NIFTI = "nifti"
    DICOM = "dicom"


@dataclass(frozen=True)
class Choices:
    """The output that the options of a command ask for."""

    output: Path
    formats: Sequence[Format] = ()
    extras: Extras = NOTHING_MORE
    overwrite: bool = False
    go_on: bool = False


@dataclass
class Batch:
    """Images to predict into a folder, and what became of them."""

    images: list[Input]
    formats: dict[str, tuple[str, ...]]
    """formats to write, by the image's stem"""
    choices: Choices
    channels: int = 1
    takes: str = ""
    """a phrase about the images that the model takes; empty where its file does not say"""
    num_done: int = 0
    """cases done in this run"""
    num_before: int = 0
    """finished before, by this command or by another run"""
    elsewhere: list[str] = field(default_factory=list)
    """stems that another run holds"""
    failures: list[str] = field(default_factory=list)

    @property
    def is_finished(self) -> bool:
        """Return whether --continue finds nothing to do; then what it found is printed."""
        if not self.choices.go_on:
            return False
        names = file_names(self.choices.output)
        if not all(self._is_finished(image, names) for image in self.images):
            return False
        self.num_before = len(self.images)
        self._report()
        return True

    def run(
        self,
        predictor: "Predictor",
        changes: Mapping[str, Any],
        prior_of: Callable[[Input], Path] | None = None,
    ) -> None:
        """Predict and write every image, and report; the exit code follows from the report.

        `prior_of` finds the prior of an image, for a model that refines those of files.
        """
        stopped = 0
        with terminate_by_exception():
            try:
                with Claims(self.choices.output) as claims, progress_bar() as bar:
                    task = bar.add_task("predicting", total=len(self.images))
                    for number, image in enumerate(self.images):
                        self._predict_one(
                            predictor, image, changes, claims, prior_of,
                            lambda share, number=number: bar.update(task, completed=number + share),
                        )  # fmt: skip
                        bar.update(task, completed=number + 1)
            except (KeyboardInterrupt, Terminated) as stop:
                stopped = TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
            except OSError:
                self._report()
                raise
        if stopped:
            say(f"{self._count()} images are done: {self.choices.output}")
            error_console.print("Stopped. The same command with --continue does the others.")
            raise typer.Exit(stopped)
        self._report()
        if self.failures:
            raise typer.Exit(FAILED if self.num_done + self.num_before else MISTAKE)

    @property
    def writes_soft_maps_as_nifti(self) -> bool:
        """Return whether probability or uncertainty is asked for where only a DICOM SEG is."""
        soft = self.choices.extras.probability or self.choices.extras.uncertainty
        return soft and any(
            "dicom" in formats and "nifti" not in formats for formats in self.formats.values()
        )

    def _predict_one(
        self,
        predictor: "Predictor",
        image: Input,
        changes: Mapping[str, Any],
        claims: Claims,
        prior_of: Callable[[Input], Path] | None,
        done: Callable[[float], object],
    ) -> None:
        choices = self.choices
        with claims.claim(image.stem) as held:
            if not held:
                self.elsewhere.append(image.stem)
                return
            if not choices.overwrite and self._is_finished(image, file_names(choices.output)):
                self.num_before += 1
                return
            try:
                image.check_whole(self.channels)
                more = {} if prior_of is None else {"prior": prior_of(image)}
                predict_image(
                    predictor, image, choices.output, self.formats[image.stem], choices.extras,
                    {**changes, **more}, done,
                )  # fmt: skip
                self.num_done += 1
            # readers and writers are libraries, each with errors of its own
            except Exception as error:
                if _ends_all(error, choices.output) or os.environ.get(DEBUG_VARIABLE):
                    raise
                self.failures.append(_describe(image, error, self.takes))

    def _is_finished(self, image: Input, names: Sequence[str]) -> bool:
        return is_finished(names, image.stem, self.formats[image.stem], self.choices.extras)

    def _count(self) -> str:
        return f"{self.num_done + self.num_before} of {len(self.images)}"

    def _report(self) -> None:
        """Print how many images are done, which failed, and which another run is doing."""
        before = f", {self.num_before} of them before" if self.num_before else ""
        say(f"{self._count()} images are done{before}: {self.choices.output}")
        if self.elsewhere:
            warn(
                f"another run is at work on {len(self.elsewhere)} others, {self.elsewhere[0]} among"
                f" them. If there is none, remove its .lock files in {self.choices.output}."
            )
        if not self.failures:
            return
        error_console.print(f"{len(self.failures)} failed:", style="bold red")
        for failure in self.failures[:MOST_SHOWN]:
            error_console.print(f"  {failure}", soft_wrap=True, markup=False)
        if len(self.failures) > MOST_SHOWN:
            error_console.print(f"  and {len(self.failures) - MOST_SHOWN} more")


def prepare_batch(head: ModelHead, inputs: Sequence[Path], choices: Choices) -> Batch:
    """Return the images to predict, after every check that needs no network.

    Raises Mistake or FileExistsError for an output folder or an image that cannot be used.
    """
    channels = head.channels or 1
    check_output(choices.output)
    images = find_inputs(inputs, channels)
    formats = {image.stem: choose_formats(image, choices.formats) for image in images}
    batch = Batch(images, formats, choices, channels, head.takes)
    if choices.overwrite and choices.go_on:
        raise Mistake("--continue keeps what is done and --overwrite replaces it: give one only.")
    if not choices.overwrite and not choices.go_on:
        if others_at_work(choices.output):
            warn(f"another run is predicting into {choices.output}: the two share the images.")
        else:
            for kinds in set(formats.values()):
                members = [image for image in images if formats[image.stem] == kinds]
                check_free(choices.output, members, kinds)
    return batch


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
    extras: Extras,
    changes: Mapping[str, Any],
    done: Callable[[float], object] = lambda share: None,
) -> None:
    """Predict one image and write its files in place of any older or unfinished ones.

    Probabilities of a volume lie on the disk until they are written.
    """
    from hidiff.prediction.writers import write_overlay, write_prediction

    with ExitStack() as stack:
        kept: dict[str, Any] = {}
        if extras.probability:
            scratch = stack.enter_context(
                tempfile.TemporaryDirectory(dir=output, prefix=f".{image.stem}{SCRATCH}")
            )
            kept = {"keep_probability": True, "scratch": Path(scratch)}
        prediction = predictor.predict(image.image, name=image.stem, done=done, **kept, **changes)
        if extras.overlay:
            write_overlay(prediction, output / f"{image.stem}_overlay.png")
        write_prediction(
            prediction,
            output,
            stem=image.stem,
            formats=formats,
            uncertainty=extras.uncertainty,
            overwrite=True,  # whether older files may be replaced was decided before
        )


def _ends_all(error: Exception, output: Path) -> bool:
    """Return whether an error is one of the output folder, which every image would meet."""
    if not isinstance(error, OSError) or error.errno not in NO_MORE_FILES:
        return False
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or str(error.filename or "").startswith(str(output))


def _describe(image: Input, error: Exception, takes: str) -> str:
    """Return one line about a failed image: its file's name, and what the model takes instead."""
    text = " ".join(str(error).split())
    if not isinstance(error, ValueError | OSError | MemoryError | RuntimeError) or not text:
        text = f"{type(error).__name__}: {text}"
    # the reader's message is for somebody who trains a model, and this one is trained already
    values = re.search(r"the image's values run from \S+ to \S+(?=,)", text)
    if values and takes:
        text = (
            f"{values[0]}, but this model takes {takes}. Convert the image to that scale, as "
            "its training images were, or use a model that was trained on images like this one."
        )
    return text if str(image.file) in text else f"{image.file}: {text}"
