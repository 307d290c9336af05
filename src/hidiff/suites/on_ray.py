"""Run a suite on a Ray cluster: a task a run, and one for each stage 1 that runs share.

Models and rows lie on a disk that all nodes share. Rows are added here, by one process. The run of
a lost node goes on from its last checkpoint on another one.
"""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hidiff.cluster import ClusterError, Files, shared_files
from hidiff.suites.benchmark import Say, find_missing, judge_run, run_name, train_once, train_run
from hidiff.suites.rows import Results, Row
from hidiff.suites.runs import Run
from hidiff.suites.suite import STAGE1, Evaluation

RETRIES = 5  # of a run whose node is lost


@dataclass(frozen=True)
class _Place:
    """Where a task trains, and what it needs there."""

    runs: Path
    results: Path
    device: str
    threads: int
    files: Files

    def open(self) -> torch.device:
        """Return the device, ready. Raises ClusterError on a node that cannot be used."""
        if problem := self.files.problem():
            raise ClusterError(f"{socket.gethostname()} {problem}.")
        torch.set_num_threads(self.threads)
        return torch.device(self.device)


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

    Each task takes `threads` processors, or a GPU. Nothing is done twice by a command that is
    repeated. Raises SuiteError as `run_suite` does.
    """
    missing = {index: find_missing(run, results) for index, run in enumerate(runs)}
    for index, run in enumerate(runs):
        if not missing[index]:
            say(f"{run.name}: done before")
    with shared_files([], [folder, results.folder]) as files:
        place = _Place(folder.resolve(), results.folder.resolve(), str(device), threads, files)
        tasks = _start(ray, runs, missing, place)
        return _collect(ray, tasks, results, say)


def _start(
    ray: Any, runs: Sequence[Run], missing: Mapping[int, Mapping[str, Evaluation]], place: _Place
) -> dict[Any, Run]:
    """Start a task for each run that misses a row; return the runs by the promise of their rows."""
    on_gpu = place.device.startswith("cuda")
    share = {"num_gpus": 1} if on_gpu else {"num_cpus": place.threads}
    first, second = (
        ray.remote(**share, max_retries=RETRIES)(task) for task in (_train_stage1, _finish)
    )
    # Two tasks must not train in one folder at once: arms share their stage 1, and two recipes of
    # a suite may share a whole run. So a task waits for the one before in its folder.
    trained: dict[str, Any] = {}
    tasks: dict[Any, Run] = {}
    for index, run in enumerate(runs):
        if missing[index]:
            names = run_name(run.stage1, STAGE1), run_name(run.recipe, run.arm, run.stage1)
            if names[0] not in trained:
                trained[names[0]] = first.remote(run, place)
            promise = second.remote(
                run, missing[index], place, trained[names[0]], trained.get(names[1])
            )
            tasks[promise], trained[names[1]] = run, promise
    return tasks


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
            for row in rows:
                results.add(row, run.recipe, run.stage1)
            say(f"{run.name}: {len(rows)} rows; {len(tasks)} runs to go")
    return failures


def _train_stage1(run: Run, place: _Place) -> None:
    train_once(run.stage1, place.runs, place.open(), STAGE1)


def _finish(
    run: Run, missing: Mapping[str, Evaluation], place: _Place, *waited_for: object
) -> list[Row]:
    """Train a run whose stage 1 is trained, and return its rows; runs on a node."""
    device = place.open()
    trained = train_run(run, place.runs, device)
    return [
        judge_run(run, name, evaluation, trained, place.results, device)
        for name, evaluation in missing.items()
    ]
