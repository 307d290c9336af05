"""Benchmark suites: many recipes and data sets to result rows, tables and figures."""
