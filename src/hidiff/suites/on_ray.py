"""Run a suite on a Ray cluster: a task a run, and one for each stage 1 that runs share.

Models and rows lie on a disk that all nodes share. Rows are added here, by one process. The run of
a lost node goes on from its last checkpoint on another one.
"""

import itertools
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hidiff.cluster import ClusterError, Files, shared_files
from hidiff.recipe import Recipe
from hidiff.suites.benchmark import Say, complete_run, is_complete, run_name, train_once
from hidiff.suites.identity import digest
from hidiff.suites.rows import Results, Row
from hidiff.suites.runs import Run
from hidiff.suites.suite import STAGE1

NewRows = list[tuple[Row, tuple[Recipe, ...]]]  # each with its recipes

RETRIES = 5  # of a run whose node is lost


@dataclass(frozen=True)
class _Place:
    """The place where a task trains, and what it needs there."""

    runs: Path
    device: str
    threads: int
    files: Files

    def open(self) -> torch.device:
        """Return the device, ready. Raises ClusterError on a node that cannot be used."""
        if problem := self.files.problem():
            raise ClusterError(f"{socket.gethostname()} {problem}.")
        torch.set_num_threads(self.threads)
        return torch.device(self.device)


class _Gathered(Results):
    """Results that keep new rows for the process that writes them."""

    def __init__(self, known: Results, earlier: Sequence[NewRows]):
        super().__init__(known.folder, list(known.rows), dict(known.recipes))
        for row, recipes in itertools.chain(*earlier):
            self._take(row, recipes)
        self.new: NewRows = []

    def add(self, row: Row, *recipes: Recipe) -> None:
        self._take(row, recipes)
        self.new.append((row, recipes))

    def _take(self, row: Row, recipes: Sequence[Recipe]) -> None:
        self.rows.append(row)
        for recipe in recipes:
            content = recipe.model_dump(mode="json")
            self.recipes.setdefault(digest(content), content)


def run_suite_on_ray(
    ray: Any,
    runs: Sequence[Run],
    results: Results,
    folder: Path,
    device: torch.device,
    threads: int,
    say: Say,
) -> list[str]:
    """Train and evaluate every run that has no row yet; return a line for each that failed.

    Each task takes `threads` processors, or a GPU. A command that is repeated does nothing twice.
    """
    known = Results(results.folder.resolve(), results.rows, results.recipes)
    with shared_files([], [folder, results.folder]) as files:
        place = _Place(folder.resolve(), str(device), threads, files)
        tasks = _start(ray, runs, ray.put(known), place)
        return _collect(ray, tasks, results, say)


def _start(ray: Any, runs: Sequence[Run], known: Any, place: _Place) -> dict[Any, Run]:
    """Start a task for each run; return the runs by the promises of what their tasks give."""
    on_gpu = place.device.startswith("cuda")
    share = {"num_gpus": 1} if on_gpu else {"num_cpus": place.threads}
    first, second = (
        ray.remote(**share, max_retries=RETRIES)(task) for task in (_train_stage1, _complete)
    )
    # Two tasks must not train in one folder at once: arms share their stage 1, and two recipes of
    # a suite may share a whole run. So a task waits for the one before in its folder, and one that
    # takes its rate over from the first seed for that.
    trained: dict[str, Any] = {}
    tasks: dict[Any, Run] = {}
    for run in runs:
        names = run_name(run.stage1, STAGE1), name_of(run)
        if names[0] not in trained:
            trained[names[0]] = first.remote(run, known, place)
        before = [trained[names[0]], trained.get(names[1])]
        if run.first is not None:
            before.append(trained.get(name_of(run.first)))
        promise = second.remote(run, known, place, *before)
        tasks[promise], trained[names[1]] = run, promise
    return tasks


def name_of(run: Run) -> str:
    """Return the name of the folder that a run is trained in."""
    return run_name(run.recipe, run.arm, run.stage1)


def _collect(ray: Any, tasks: dict[Any, Run], results: Results, say: Say) -> list[str]:
    """Add the rows of each run as it ends; return a line for each run that failed."""
    failures = []
    while tasks:
        ready, _ = ray.wait(list(tasks), timeout=1.0)
        for promise in ready:
            run = tasks.pop(promise)
            try:
                rows = ray.get(promise)
            except ray.exceptions.RayError as error:
                cause = getattr(error, "cause", None) or error
                failures.append(f"{run.name}: {' '.join(str(cause).split())[:500]}")
                continue
            for row, recipes in rows:
                results.add(row, *recipes)
            done = f"{len(rows)} new rows" if rows else "done before"
            say(f"{run.name}: {done}; {len(tasks)} runs to go")
    return failures


def _train_stage1(run: Run, known: Results, place: _Place) -> None:
    """Train the stage 1 that several runs share, unless this one has all its rows."""
    device = place.open()
    if not is_complete(run, known):
        train_once(run.stage1, place.runs, device, STAGE1)


def _complete(run: Run, known: Results, place: _Place, *before: NewRows | None) -> NewRows:
    """Return the rows that a run misses; runs on a node, after the runs whose rows are `before`."""
    gathered = _Gathered(known, [rows for rows in before if rows])
    complete_run(run, gathered, place.runs, place.open(), lambda text: None)
    return gathered.new
