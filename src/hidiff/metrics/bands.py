"""The quality of masks by the size of objects.

A thing is whatever has a size: an object, or the pixels of a vessel that are of one width. Its row
is a table row (see `table`) with "size", "count" (1 for an object; how many pixels) and metrics.
The things of all cases are put into bands by size; a band's rows are summarised like any others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hidiff.metrics.table import KEYS, Row, Summary, metric_names, summarise

NUM_BANDS = 3


@dataclass(frozen=True)
class Band:
    """The summary of the objects of one class and one band of sizes."""

    class_name: str
    name: str
    """such as "12 to 40 px" """
    count: int
    """things in all cases"""
    summary: Summary
    """over the cases that hold any"""


def size_edges(things: Sequence[Row], num_bands: int = NUM_BANDS) -> tuple[float, ...]:
    """Return the sizes that divide the objects into bands of equal counts, as far as ties allow.

    To three digits, as they are shown.
    """
    source = things[0]["source"]  # both sources have the same truth
    sizes, counts = np.array([(r["size"], r["count"]) for r in things if r["source"] == source]).T
    order = np.argsort(sizes)
    share = np.cumsum(counts[order]) / counts.sum()
    places = np.searchsorted(share, np.arange(1, num_bands) / num_bands)
    edges = {float(f"{size:.3g}") for size in sizes[order][places].tolist()}
    return tuple(sorted(edge for edge in edges if edge < sizes.max()))


def band_rows(things: Sequence[Row], unit: str, edges: Sequence[float] | None = None) -> list[Row]:
    """Return one row for each case, class, source and band with an object, smallest band first.

    Its metrics are means over the band's things. A size on an edge belongs to the band below it.
    Without `edges` each class gets its own, of `size_edges`.
    """
    metrics, rows = metric_names(things), []
    for class_name in dict.fromkeys(row["class"] for row in things):
        each = [row for row in things if row["class"] == class_name]
        ends = sorted(size_edges(each) if edges is None else edges)
        numbers = np.searchsorted(ends, [row["size"] for row in each])
        for number in np.unique(numbers).tolist():
            band = [row for row, its in zip(each, numbers, strict=True) if its == number]
            rows += [
                {
                    **dict(zip(KEYS, key, strict=True)),
                    "band": band_name(ends, number, unit),
                    "count": sum(row["count"] for row in here),
                    **{metric: weighted_mean(here, metric) for metric in metrics},
                }
                for key, here in by_keys(band).items()
            ]
    return rows


def by_keys(things: Sequence[Row]) -> dict[tuple, list[Row]]:
    """Return the objects of each case, class and source."""
    found: dict[tuple, list[Row]] = {}
    for row in things:
        found.setdefault(tuple(row[key] for key in KEYS), []).append(row)
    return found


def weighted_mean(things: Sequence[Row], metric: str) -> float:
    return float(np.average([r[metric] for r in things], weights=[r["count"] for r in things]))


def band_name(edges: Sequence[float], number: int, unit: str) -> str:
    """Return the name of the band below edge `number`, or above the last edge."""
    if not edges:
        return "any size"
    if number == 0:
        return f"up to {edges[0]:g} {unit}"
    if number == len(edges):
        return f"over {edges[-1]:g} {unit}"
    return f"{edges[number - 1]:g} to {edges[number]:g} {unit}"


def summarise_bands(rows: Sequence[Row]) -> list[Band]:
    """Summarise each class and band on its own, as not every case has an object of every size.

    A patient without any in a band takes no part in it, so n differs from band to band.
    """
    bands = []
    for class_name, name in dict.fromkeys((row["class"], row["band"]) for row in rows):
        each = [row for row in rows if (row["class"], row["band"]) == (class_name, name)]
        count = sum(row["count"] for row in each if row["source"] == each[0]["source"])
        bands.append(Band(class_name, name, int(count), summarise(each)))
    return bands
