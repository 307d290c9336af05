"""What a run tells while it goes: a progress bar, rows of metrics.jsonl, TensorBoard."""

import importlib.util
import json
import time
from pathlib import Path
from typing import IO, Any

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from hidiff.training.state import Progress
from hidiff.weights import atomic_write

METRICS_FILE = "metrics.jsonl"


class RunLog:
    """Rows of numbers to a file and, where the `track` extra is installed, to TensorBoard.

    A resumed run drops the rows that came after its checkpoint, as they will come again, and
    its clock goes on. A silent log (another process than the first, say) writes nothing.
    """

    def __init__(self, folder: Path, resumed: Progress | None = None, silent: bool = False):
        self.silent = silent
        self.started = time.monotonic() - (resumed.seconds if resumed else 0)
        self._file: IO[str] | None = None
        self._board: Any = None
        if silent:
            return
        folder.mkdir(parents=True, exist_ok=True)
        kept = _rows_until(folder / METRICS_FILE, resumed) if resumed else []
        with atomic_write(folder / METRICS_FILE) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")
        self._file = open(folder / METRICS_FILE, "a", encoding="utf-8")  # noqa: SIM115 - kept open
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"))
        self._bar = Bar(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
        )

    @property
    def seconds(self) -> float:
        """Wall time since the run began, without the time that it lay still."""
        return time.monotonic() - self.started

    def row(self, kind: str, stage: str, step: int, **numbers: float | int) -> None:
        """Write one row: `kind` is plan (a stage begins), train or validation."""
        if self._file is None:
            return
        seconds = round(self.seconds, 2)
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
        """One step is done; the latest losses, if they were looked at. The bar has room for those
        of the networks, metrics.jsonl for their parts too."""
        if self.silent:
            return
        self._bar.advance(self._task)
        if losses:
            shown = "  ".join(
                f"{name} {losses[name]:.3f}" for name in ("refiner", "segmentor") if name in losses
            )
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


def _rows_until(path: Path, progress: Progress) -> list[str]:
    """The lines that a run had written when it stood at `progress`."""
    if not path.is_file():
        return []
    kept, reached = [], False
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # the process was killed while it wrote this line
            break
        same = row["stage"] == progress.stage
        reached = reached or same
        if not line.endswith("\n") or (row["step"] > progress.step if same else reached):
            break
        kept.append(line)
    return kept
