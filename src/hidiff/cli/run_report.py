"""The report of a batch (--report): what ran, with which settings, how long, and what failed."""

import contextlib
import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hidiff._version import __version__
from hidiff.cli.errors import Mistake
from hidiff.cli.predicting import Batch
from hidiff.cli.say import say
from hidiff.models import ModelHead

LIBRARIES = ("torch", "numpy", "nibabel", "pillow", "pydicom", "highdicom")


def check_report(report: Path | None) -> None:
    """Raise Mistake for a report that cannot be written where it is asked for."""
    if report is not None and report.is_dir():
        raise Mistake(f"--report {report} is a folder. Give the name of a file, such as run.json.")


@contextlib.contextmanager
def reported(
    batch: Batch, head: ModelHead, changes: Mapping[str, Any], report: Path | None
) -> Iterator[None]:
    """Write what is made of a whole batch when it ends, also if some of it failed.

    That is the table of the statistics, where they were asked for, and the report.
    """
    start, began = time.monotonic(), datetime.now(UTC)
    try:
        yield
    finally:
        if batch.choices.extras.statistics:
            from hidiff.prediction.writers.statistics import write_statistics_table

            say(f"Statistics: {write_statistics_table(batch.choices.output)}")
        if report is not None:
            from hidiff.weights import atomic_write  # deferred: it imports torch

            seconds = round(time.monotonic() - start, 3)
            content = describe(batch, head, changes, seconds, began)
            report.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(report) as temporary:
                text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
                temporary.write_text(text, encoding="utf-8")
            say(f"Report: {report}")


def describe(
    batch: Batch, head: ModelHead, changes: Mapping[str, Any], seconds: float, began: datetime
) -> dict[str, Any]:
    """Return the report: plain numbers and texts, which JSON holds."""
    return {
        "hidiff": __version__,
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
        "machine": {"system": platform.platform(), "processor": platform.machine()},
        "began": began.isoformat(timespec="seconds"),
        "seconds": seconds,
        "model": {
            "file": str(head.path),
            "recipe": head.recipe,
            **{key: head.metadata[key] for key in ("stage", "step") if key in head.metadata},
        },
        "settings": {**head.recipe.get("prediction", {}), **_plain(changes)},
        "output": str(batch.choices.output),
        "written": batch.choices.extras._asdict(),
        "images": [image.stem for image in batch.images],
        "num_done": batch.num_done,
        "num_before": batch.num_before,
        "elsewhere": list(batch.elsewhere),
        "failures": list(batch.failures),
    }


def _plain(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
        for name, value in changes.items()
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
