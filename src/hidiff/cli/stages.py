"""The stages of each image of a batch: claimed and read, predicted, written, and how it ended."""

import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import psutil

from hidiff.cli.claims import SCRATCH
from hidiff.cli.errors import DEBUG_VARIABLE
from hidiff.cli.inputs import Input
from hidiff.images import PriorFiles, find_prior
from hidiff.loading import At
from hidiff.prediction import Prediction, Predictor, writers
from hidiff.prediction.endings import Extras, file_names, is_finished, may_be_finished, names_of
from hidiff.prediction.kept_classes import keep_classes
from hidiff.prediction.overlap import Stages, overlap
from hidiff.prediction.slices import OpenedImage
from hidiff.prediction.writers.common import plane_stems

# Errors of writing that every further image would meet too.
NO_MORE_FILES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
# Of each pixel or voxel of an image in work: its value as read and as normalised, float32 both,
# and its maps.
BYTES_A_VALUE = 16
MOST_BYTES = 2**31  # that all images in work may take, but for one alone
MOST_OF_MEMORY = 1 / 8

Fate = Literal["done", "before", "elsewhere", "failed"]


@dataclass(frozen=True)
class Outcome:
    """The end of an image."""

    stem: str
    fate: Fate
    """done now; finished before; elsewhere: another run holds it; or failed"""
    failure: str = ""
    """one line, which names the image's file"""


@dataclass(frozen=True)
class Work:
    """The way every image of a batch is predicted and written."""

    output: Path
    formats: Mapping[str, Sequence[str]]
    """by the image's stem"""
    extras: Extras
    overwrite: bool
    channels: int
    takes: str
    """a phrase about the images that the model takes; may be empty"""
    changes: Mapping[str, Any]
    """PredictionSettings that differ from the model's own"""
    priors: Path | None = None
    """the folder of the images' priors, for a model that refines those of files"""
    at: At | None = None
    """row, column and slice of the crop that a model of crops sees"""


@runtime_checkable
class Locks(Protocol):
    """Hands out the images: see Claims."""

    def claim(self, stem: str) -> AbstractContextManager[bool]: ...


def predict_images(
    predictor: Predictor,
    images: Sequence[Input],
    work: Work,
    claims: Locks,
    ended: Callable[[Outcome], object],
    share: Callable[[float], object] = lambda share: None,
) -> None:
    """Predict and write images; `ended` is called of each, `share` with what is done of one.

    One is read while the one before is predicted, and the one before that is written. An image
    that fails ends alone; an error of the output folder, which all would meet, is raised.
    """
    memory = int(psutil.virtual_memory().total * MOST_OF_MEMORY)
    stages = _ImageStages(predictor, work, claims, ended, share)
    overlap(map(_Case, images), stages, min(MOST_BYTES, memory))


@dataclass(eq=False)
class _Case:
    """An image in work, with the lock and the scratch folder that it holds."""

    image: Input
    held: ExitStack = field(default_factory=ExitStack)
    fate: Fate = "done"
    kept: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _ImageStages(Stages[_Case, OpenedImage, Prediction]):
    """From an image's file to the files of its masks."""

    predictor: Predictor
    work: Work
    claims: Locks
    ended: Callable[[Outcome], object]
    share: Callable[[float], object]

    def weigh(self, item: _Case) -> int:
        image = item.image
        # whatever is wrong with the file, reading it will tell
        with contextlib.suppress(Exception):
            return image.format.count_values(image.file) * self.work.channels * BYTES_A_VALUE
        return 0

    def read(self, item: _Case) -> OpenedImage | None:
        work, image = self.work, item.image
        if not item.held.enter_context(self.claims.claim(image.stem)):
            item.fate = "elsewhere"
            return None
        if not work.overwrite and self._is_finished(image):
            item.fate = "before"
            return None
        image.check_whole(work.channels)
        opened = self.predictor.open(image.image, name=image.stem, at=work.at)
        prior = self.predictor.read_prior(self._find_prior(image), opened.opened)
        opened = opened.with_prior(prior)
        if work.extras.probability:  # that of a volume lies on the disk until it is written
            scratch = item.held.enter_context(
                tempfile.TemporaryDirectory(dir=work.output, prefix=f".{image.stem}{SCRATCH}")
            )
            item.kept.update(keep_probability=True, scratch=Path(scratch))
        return opened

    def predict(self, item: _Case, read: OpenedImage) -> Prediction:
        return self.predictor.predict(
            read, name=item.image.stem, done=self.share, **item.kept, **self.work.changes
        )

    def write(self, item: _Case, result: Prediction) -> None:
        """Write the files in place of any older or unfinished ones."""
        work, image = self.work, item.image
        with item.held:
            if work.extras.classes:
                result = keep_classes(result, work.extras.classes)
            writers.write_more(result, work.output, image.stem, work.extras)
            writers.write_prediction(
                result,
                work.output,
                stem=image.stem,
                formats=work.formats[image.stem],
                uncertainty=work.extras.uncertainty,
                overwrite=True,  # whether older files may be replaced was decided before
            )

    def end(self, item: _Case, error: Exception | None) -> None:
        item.held.close()
        stem = item.image.stem
        if error is None:
            self.ended(Outcome(stem, item.fate))
            return
        # readers and writers are libraries, each with errors of its own
        if _ends_all(error, self.work.output) or os.environ.get(DEBUG_VARIABLE):
            raise error
        self.ended(Outcome(stem, "failed", _describe(item.image, error, self.work.takes)))

    def drop(self, item: _Case) -> None:
        item.held.close()

    def _find_prior(self, image: Input) -> PriorFiles | None:
        if self.work.priors is None:
            return None
        kind = self.predictor.priors.kind if self.predictor.priors else "probability"
        return find_prior(self.work.priors, image.stem, kind)

    def _is_finished(self, image: Input) -> bool:
        """Return whether another run has finished the image since this one began."""
        work, stem = self.work, image.stem
        formats = work.formats[stem]
        first_plane = plane_stems(self.predictor.labels.plane_names)[0]
        if not may_be_finished(work.output, stem, formats, first_plane):
            return False
        names = names_of(file_names(work.output), stem)
        return is_finished(names, stem, formats, work.extras)


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
