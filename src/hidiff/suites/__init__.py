"""Benchmark suites: many recipes and data sets to result rows, tables and figures."""

from hidiff.suites.benchmark import run_suite
from hidiff.suites.page import find_results, write_page
from hidiff.suites.rows import Results, read_results
from hidiff.suites.runs import Run, list_runs
from hidiff.suites.suite import Suite, SuiteError, find_suite, read_suite, shipped_suites

__all__ = [
    "Results",
    "Run",
    "Suite",
    "SuiteError",
    "find_results",
    "find_suite",
    "list_runs",
    "read_results",
    "read_suite",
    "run_suite",
    "shipped_suites",
    "write_page",
]
