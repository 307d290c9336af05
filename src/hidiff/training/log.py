"""What a run tells while it goes: a progress bar, rows of metrics.jsonl, TensorBoard."""

import importlib.util
import json
import time
from pathlib import Path
from typing import IO, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class RunLog:
    """Rows of numbers to a file and, where the `track` extra is installed, to TensorBoard.

    A silent one (another process than the first, say) writes nothing.
    """

    def __init__(self, folder: Path, silent: bool = False):
        self.silent = silent
        self.started = time.monotonic()
        self._file: IO[str] | None = None
        self._board: Any = None
        if silent:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._file = open(folder / "metrics.jsonl", "a", encoding="utf-8")  # noqa: SIM115 - kept
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"))
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
        )

    def row(self, kind: str, stage: str, step: int, **numbers: float) -> None:
        """Write one row: `kind` is train or validation."""
        if self._file is None:
            return
        seconds = round(time.monotonic() - self.started, 2)
        row = {"kind": kind, "stage": stage, "step": step, "seconds": seconds, **numbers}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(f"{stage}/{kind}/{name}", value, step)

    def begin(self, stage: str, step: int, total: int) -> None:
        """A stage begins: a new bar."""
        if self.silent:
            return
        self._task = self._bar.add_task(stage, total=total, completed=step, losses="")
        self._bar.start()

    def advance(self, losses: dict[str, float]) -> None:
        """One step is done; the latest losses, if they were looked at."""
        if self.silent:
            return
        self._bar.advance(self._task)
        if losses:
            shown = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
            self._bar.update(self._task, losses=shown)

    def say(self, text: str) -> None:
        """A line above the bar."""
        if not self.silent:
            self._bar.console.print(text)

    def close(self) -> None:
        """Stop the bar and close the files."""
        if self.silent:
            return
        self._bar.stop()
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()
