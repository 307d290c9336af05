"""Predict a batch of images, each by itself: those that fail are named in the end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hidiff.cli.claims import Claims, others_at_work
from hidiff.cli.errors import FAILED, MISTAKE, Mistake
from hidiff.cli.inputs import Input, check_free, check_output, find_inputs
from hidiff.cli.progress import Pace
from hidiff.cli.say import error_console, say, show_failures, warn
from hidiff.cli.shares import Share
from hidiff.cli.stopping import INTERRUPTED, TERMINATED, Terminated, terminate_by_exception
from hidiff.models import ModelHead
from hidiff.prediction.endings import NOTHING_MORE, Extras, file_names, is_finished, names_of

if TYPE_CHECKING:
    from hidiff.cli.stages import Outcome, Work
    from hidiff.prediction import Predictor


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
    share: Share | None = None
    """the only one of several shares of the images that is done"""
    at: tuple[float, float, int] | None = None
    """row, column and slice of a volume, from 0, that a model of crops outlines"""


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
        """Return whether there is nothing to do; then what was found is printed.

        So it is with --continue where all is done, and of a share that holds no image.
        """
        if self.images and not (self.choices.go_on and not self.unfinished):
            return False
        self.num_before = len(self.images)
        self._report()
        return True

    @cached_property
    def unfinished(self) -> list[Input]:
        """Return the images that are unfinished, or that --overwrite does again."""
        if self.choices.overwrite:
            return self.images
        names = file_names(self.choices.output)
        return [
            image
            for image in self.images
            if not is_finished(
                names_of(names, image.stem),
                image.stem,
                self.formats[image.stem],
                self.choices.extras,
            )
        ]

    def run(
        self,
        predictor: "Predictor",
        changes: Mapping[str, Any],
        priors: Path | None = None,
    ) -> None:
        """Predict and write every image, and report; the exit code follows from the report.

        `priors` is the folder of the images' priors, for a model that refines those of files.
        """
        from hidiff.cli.stages import predict_images

        work = self.work(changes, priors)

        def predict(claims: Claims, pace: Pace) -> None:
            images = self.unfinished
            for _ in range(2):  # again those that another run held, which may have died by now
                predict_images(
                    predictor, images, work, claims, partial(self.take, pace), pace.share
                )
                held, self.elsewhere = set(self.elsewhere), []
                images = [image for image in images if image.stem in held]
            self.elsewhere = [image.stem for image in images]

        self.go_through(predict)

    def work(self, changes: Mapping[str, Any], priors: Path | None = None) -> "Work":
        """Return how each image is predicted and written."""
        from hidiff.cli.stages import Work

        choices = self.choices
        return Work(
            choices.output, self.formats, choices.extras, choices.overwrite, self.channels,
            self.takes, changes, priors, choices.at,
        )  # fmt: skip

    def go_through(self, predict: Callable[[Claims, Pace], None]) -> None:
        """Let `predict` do the unfinished images, and report; also after Ctrl-C or SIGTERM."""
        self.num_before = len(self.images) - len(self.unfinished)
        stopped = 0
        with terminate_by_exception():
            try:
                with Claims(self.choices.output) as claims, Pace(len(self.unfinished)) as pace:
                    predict(claims, pace)
            except (KeyboardInterrupt, Terminated) as stop:
                stopped = TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
            except OSError:
                self._report()
                raise
        if stopped:
            say(f"{self._count()} are done: {self.choices.output}")
            error_console.print("Stopped. The same command with --continue does the others.")
            raise typer.Exit(stopped)
        self._report(pace.words)
        if self.failures:
            raise typer.Exit(FAILED if self.num_done + self.num_before else MISTAKE)

    def take(self, pace: Pace, outcome: "Outcome") -> None:
        """Count an image that has ended."""
        if outcome.fate == "done":
            self.num_done += 1
        elif outcome.fate == "before":
            self.num_before += 1
        elif outcome.fate == "elsewhere":
            self.elsewhere.append(outcome.stem)
        else:
            self.failures.append(outcome.failure)
        pace.step()

    @property
    def writes_soft_maps_as_nifti(self) -> bool:
        """Return whether probability or uncertainty is asked for where only a DICOM SEG is."""
        soft = self.choices.extras.probability or self.choices.extras.uncertainty
        return soft and any(
            "dicom" in formats and "nifti" not in formats for formats in self.formats.values()
        )

    def _count(self) -> str:
        share = "" if self.choices.share is None else f" of {self.choices.share}"
        return f"{self.num_done + self.num_before} of {len(self.images)} images{share}"

    def _report(self, pace: str = "") -> None:
        """Print how many images are done, which failed, and which another run is doing."""
        before = f", {self.num_before} of them before" if self.num_before else ""
        say(f"{self._count()} are done{before}: {self.choices.output}{pace}")
        if self.elsewhere:
            warn(
                f"another run is at work on {len(self.elsewhere)} others, {self.elsewhere[0]} among"
                f" them. If there is none, remove its .lock files in {self.choices.output}."
            )
        if self.failures:
            show_failures(self.failures)


def prepare_batch(head: ModelHead, inputs: Sequence[Path], choices: Choices) -> Batch:
    """Return the images to predict, after every check that needs no network.

    Raises Mistake or FileExistsError for an output folder or an image that cannot be used.
    """
    channels = head.channels or 1
    check_output(choices.output)
    images = find_inputs(inputs, channels, head.source)
    if choices.share is not None:
        images = choices.share.choose(images, lambda image: image.stem)
    if choices.at is not None and len(images) != 1:
        raise Mistake(f"--at is a place in one volume, but {len(images)} images came: give one.")
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


def begin_batch(head: ModelHead, inputs: Sequence[Path], choices: Choices) -> Batch | None:
    """Return the images to predict; None, after printing that, if nothing is left to do."""
    batch = prepare_batch(head, inputs, choices)
    if batch.is_finished:
        return None
    if batch.writes_soft_maps_as_nifti:
        say("A DICOM SEG holds labels only: the soft maps are written beside it as NIfTI.")
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
