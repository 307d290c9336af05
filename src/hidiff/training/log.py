"""The log of a run: a progress bar or lines, rows of metrics.jsonl, TensorBoard."""

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
LINE_SECONDS = 30.0  # between lines of a run whose output goes to a file, where no bar moves


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
        """Begin a stage with a bar of its own; without a terminal, with a line."""
        if self.silent:
            return
        self._stage, self._first, self._step, self._total = stage, step, step, total
        self._losses = ""
        self._begun = self._said = time.monotonic()
        if not self._bar.console.is_terminal:
            self.say(f"{stage}: step {step} of {total}")
            return
        self._task = self._bar.add_task(stage, total=total, completed=step, losses="")
        self._bar.start()

    def advance(self, losses: dict[str, float]) -> None:
        """Count a step, and show the latest losses of the networks, if they were computed.

        metrics.jsonl has the parts of the losses too. Without a terminal a line comes now and then.
        """
        if self.silent:
            return
        self._step += 1
        if losses:
            self._losses = "  ".join(
                f"{name} {losses[name]:.3f}" for name in ("refiner", "segmentor") if name in losses
            )
        if self._bar.console.is_terminal:
            self._bar.update(self._task, completed=self._step, losses=self._losses)
        elif time.monotonic() - self._said > LINE_SECONDS:
            self._said = time.monotonic()
            self.say(self._line())

    def _line(self) -> str:
        """Return how far the stage is, how fast it goes, and when it ends if it goes on so."""
        seconds = (time.monotonic() - self._begun) / (self._step - self._first)
        minutes = seconds * (self._total - self._step) / 60
        losses = f", {self._losses}" if self._losses else ""
        return (
            f"{self._stage}: step {self._step} of {self._total}{losses}, {seconds:.2g} s a step, "
            f"about {max(minutes, 1):.0f} min left in this stage"
        )

    def say(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        if not self.silent:
            self._bar.console.print(text, soft_wrap=True, markup=False)

    def close(self) -> None:
        """Stop the bar and close the files."""
        if self.silent:
            return
        if self._bar.console.is_terminal:
            self._bar.stop()
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()


def _rows_until(path: Path, progress: Progress) -> list[str]:
    """Return the lines that a run had written when it stood at `progress`."""
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
