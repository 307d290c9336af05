"""All that an evaluation keeps of each case, and a journal of it: a line per case.

A journal lets an evaluation go on after it was killed, and lets several machines share one. Its
numbers are exact, and sums over cases are made in the order of the cases, so results do not depend
on how the work was shared.
"""

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hidiff.datasets import Case
from hidiff.evaluation.evaluate import Truth, judge, read_truth
from hidiff.evaluation.studies import CalibrationStudy, SizeStudy
from hidiff.images import first_file, format_of
from hidiff.metrics import Reliability
from hidiff.metrics.table import Row
from hidiff.prediction.overlap import Stages, overlap
from hidiff.prediction.prediction import Prediction
from hidiff.prediction.predictor import Predictor
from hidiff.prediction.slices import OpenedImage
from hidiff.weights import atomic_write

MOST_BYTES = 2**30  # that all images in work may take, but for one alone
BYTES_A_VALUE = 24  # of an image in work, with its maps and its truth


@dataclass(frozen=True)
class Findings:
    """The measurements of one case."""

    case: str
    rows: list[Row]
    doubt: float
    """see Prediction.doubt"""
    curves: dict[str, dict[str, dict[str, list[float]]]]
    """class -> whose probability -> the sums of its Reliability; empty without probabilities"""
    things: list[Row] = field(default_factory=list)
    size_rows: list[Row] = field(default_factory=list)
    unit: str = ""
    """unit of the objects' sizes"""

    def line(self) -> str:
        """Return one line of JSON, numbers in full."""
        return json.dumps(asdict(self), ensure_ascii=False, default=_plain) + "\n"

    def add_to(self, calibration: CalibrationStudy, sizes: SizeStudy | None) -> None:
        """Add the case to the studies over all cases."""
        for name, sources in self.curves.items():
            known = calibration.curves.setdefault(name, {})
            for source, sums in sources.items():
                curve = Reliability(**{each: np.array(values) for each, values in sums.items()})
                known[source] = known[source] + curve if source in known else curve
        if sizes is not None:
            sizes.things += self.things
            sizes.rows += self.size_rows
            sizes.unit = self.unit


def read_line(line: str) -> Findings | None:
    """Return the findings of a line; None for one that was cut off."""
    try:
        return Findings(**json.loads(line)) if line.endswith("\n") else None
    except (ValueError, TypeError):
        return None


class Journal:
    """The findings of cases in a file, and in its first line what they are findings of."""

    def __init__(self, file: Path, about: Mapping[str, Any]):
        self.file = file
        self.about = dict(about)

    def read(self) -> list[Findings]:
        """Return the findings in the file, if there is one.

        Raises ValueError if they belong to another evaluation; the error names the difference.
        """
        if not self.file.is_file():
            return []
        head, *lines = self.file.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
        try:
            about = json.loads(head)
        except ValueError:
            return []  # killed while it wrote its first line
        differs = [
            f"{name} was {about.get(name)}, is {self.about.get(name)}"
            for name in sorted(about.keys() | self.about.keys())
            if about.get(name) != json.loads(json.dumps(self.about.get(name)))
        ]
        if differs:
            raise ValueError(
                f"{self.file} holds cases of another evaluation ({'; '.join(differs)}). Repeat the "
                "command that wrote it, remove it with --overwrite, or write to another --output."
            )
        return [found for found in map(read_line, lines) if found is not None]

    def begin(self, found: Sequence[Findings] = ()) -> None:
        """Write the first line and what was found before, without a line that was cut off."""
        with atomic_write(self.file) as temporary:
            text = json.dumps(self.about, ensure_ascii=False) + "\n"
            temporary.write_text(text + "".join(each.line() for each in found), encoding="utf-8")

    def add(self, found: Findings) -> None:
        """Write the findings of one more case; a kill cuts off the last line at most."""
        with open(self.file, "a", encoding="utf-8") as file:
            file.write(found.line())
            file.flush()
            os.fsync(file.fileno())


def find_all(
    predictor: Predictor,
    cases: Sequence[Case],
    ended: Callable[[Case, Findings | Exception], None],
    *,
    sizes: str | None = None,
    tolerance: float = 1.0,
    **changes: Any,
) -> None:
    """Predict and judge every case; `ended` is called with what was found, or with the error.

    `sizes` is of studies.KINDS, `changes` are PredictionSettings. The next case is read and the one
    before judged while one is predicted.
    """
    overlap(cases, _JudgeStages(predictor, ended, sizes, tolerance, changes), MOST_BYTES)


@dataclass(frozen=True)
class _JudgeStages(Stages[Case, tuple[Truth, OpenedImage], tuple[Truth, Prediction]]):
    """From a case's files to its findings."""

    predictor: Predictor
    ended: Callable[[Case, Findings | Exception], None]
    sizes: str | None
    tolerance: float
    changes: Mapping[str, Any]
    found: dict[str, Findings] = field(default_factory=dict)
    """findings of cases that are evaluated and not ended yet"""

    def weigh(self, item: Case) -> int:
        # whatever is wrong with the file, reading it will tell
        with contextlib.suppress(Exception):
            count = format_of(item.image).count_values(first_file(item.image))
            return count * self.predictor.channels * BYTES_A_VALUE
        return 0

    def read(self, item: Case) -> tuple[Truth, OpenedImage]:
        truth = read_truth(item, self.predictor)
        opened = self.predictor.open(item.image, name=item.name)
        return truth, opened.with_prior(self.predictor.read_prior(item.prior, opened.opened))

    def predict(self, item: Case, read: tuple[Truth, OpenedImage]) -> tuple[Truth, Prediction]:
        truth, opened = read
        settings = self.predictor.settings.model_copy(update=dict(self.changes))
        # The mean of several samples hides how reliable one of them is; a trace holds the first.
        trace = self.predictor.refines and settings.samples > 1
        return truth, self.predictor.predict(opened, trace=trace, **self.changes)

    def write(self, item: Case, result: tuple[Truth, Prediction]) -> None:
        truth, prediction = result
        self.found[item.name] = self._find(item, truth, prediction)

    def end(self, item: Case, error: Exception | None) -> None:
        self.ended(item, self.found.pop(item.name) if error is None else error)

    def _find(self, case: Case, truth: Truth, prediction: Prediction) -> Findings:
        predictor = self.predictor
        labels, refined = predictor.labels, predictor.refines
        settings = predictor.settings.model_copy(update=dict(self.changes))
        rows = judge(prediction, truth, case, predictor, self.tolerance)
        calibration = CalibrationStudy(settings.samples)
        calibration.add(prediction, truth, labels, refined)
        by_size = SizeStudy(self.sizes or "")
        if self.sizes:
            by_size.add(case, prediction, truth, labels, refined)
        curves = {
            name: {source: _sums(curve) for source, curve in sources.items()}
            for name, sources in calibration.curves.items()
        }
        found = Findings(
            case.name,
            [row for row in rows if refined or row["source"] == "prior"],
            prediction.doubt,
            curves,
            by_size.things,
            by_size.rows,
            by_size.unit,
        )
        # as another process would read it
        read = read_line(found.line())
        assert read is not None
        return read


def _sums(curve: Reliability) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in vars(curve).items()}


def _plain(number: Any) -> Any:
    """Return a number of NumPy's as one of Python's."""
    return number.item()
