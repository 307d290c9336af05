"""Benchmark suites: train and evaluate many recipes, and keep a row of each evaluation."""

from hidiff.suites.benchmark import run_suite
from hidiff.suites.rows import Results, read_results
from hidiff.suites.runs import Run, list_runs
from hidiff.suites.suite import Suite, SuiteError, read_suite

__all__ = [
    "Results",
    "Run",
    "Suite",
    "SuiteError",
    "list_runs",
    "read_results",
    "read_suite",
    "run_suite",
]
