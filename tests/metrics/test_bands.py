"""Bands of size: equal counts, means within a band, intervals over those who have such things."""

import numpy as np
import pytest

from hidiff.metrics import band_rows, size_edges, summarise_bands
from hidiff.report.format import markdown_bands


def make_things(sizes, *, case="a", group=None, class_name="lesion", recall=None, count=1):
    """A prior and a refined row for each size; refinement finds what the prior misses."""
    found = [1.0] * len(sizes) if recall is None else recall
    return [
        {"case": case, "group": group or case, "class": class_name, "source": source}
        | {"size": float(size), "count": count, "object_recall": max(value, better)}
        for source, better in (("prior", 0.0), ("refined", 1.0))
        for size, value in zip(sizes, found, strict=True)
    ]


def test_edges_part_things_into_equal_counts():
    assert size_edges(make_things(range(1, 13))) == (4.0, 8.0)
    assert size_edges(make_things(range(1, 13)), num_bands=4) == (3.0, 6.0, 9.0)
    # by numpy's weighted quantile
    sizes, counts = np.array([1.0, 2, 3, 4, 5]), [10, 1, 1, 1, 20]
    things = [row | {"count": counts[int(row["size"]) - 1]} for row in make_things(sizes.tolist())]
    thirds = np.quantile(sizes, [1 / 3, 2 / 3], weights=counts, method="inverted_cdf")
    assert size_edges(things) == tuple(sorted({e for e in thirds.tolist() if e < 5}))


def test_of_equal_sizes_there_is_one_band():
    things = make_things([7, 7, 7])
    assert size_edges(things) == ()
    assert {row["band"] for row in band_rows(things, "px")} == {"any size"}


def test_a_bands_metrics_are_means_over_its_things():
    things = make_things([2, 3, 9, 30], recall=[0.0, 1.0, 1.0, 0.0])
    rows = [row for row in band_rows(things, "mm²", (3.0, 10.0)) if row["source"] == "prior"]
    found = {row["band"]: (row["count"], row["object_recall"]) for row in rows}
    assert found == {"up to 3 mm²": (2, 0.5), "3 to 10 mm²": (1, 1.0), "over 10 mm²": (1, 0.0)}


def test_many_pixels_of_one_width_count_for_as_many():
    things = make_things([1, 1], recall=[0.0, 1.0])
    for row in things:
        row["count"] = 30 if row["object_recall"] == 0.0 else 10
    (row, _) = band_rows(things, "px")
    assert (row["count"], row["object_recall"]) == (40, 0.25)


def test_a_patient_without_small_objects_takes_no_part_in_their_mean():
    things = (
        make_things([2, 20], case="a", recall=[0.0, 1.0])
        + make_things([3], case="b", recall=[1.0])
        + make_things([40], case="c", recall=[0.0])
    )
    small, large = summarise_bands(band_rows(things, "px", (10.0,)))
    assert (small.name, small.count, small.summary.num_groups) == ("up to 10 px", 2, 2)
    assert (large.name, large.count, large.summary.num_groups) == ("over 10 px", 2, 2)
    entry = small.summary.entry("lesion", "object_recall")
    assert (entry.prior.mean, entry.refined.mean, entry.difference.mean) == (0.5, 1.0, 0.5)


def test_each_class_has_bands_of_its_own():
    things = make_things([1, 2, 3]) + make_things([100, 200, 300], class_name="organ")
    names = [(band.class_name, band.name) for band in summarise_bands(band_rows(things, "px"))]
    assert names == [
        *(("lesion", name) for name in ("up to 1 px", "1 to 2 px", "over 2 px")),
        *(("organ", name) for name in ("up to 100 px", "100 to 200 px", "over 200 px")),
    ]


def test_a_table_has_a_line_for_each_class_band_and_metric():
    bands = summarise_bands(band_rows(make_things([1, 5], recall=[0.0, 1.0]), "px", (2.0,)))
    assert markdown_bands(bands).splitlines() == [
        "| class | size | metric | prior | refined | difference [95 % CI] | p | objects | n |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| lesion | up to 2 px | Object recall ↑ | 0.000 | 1.000 | +1.000 | - | 1 | 1 |",
        "| lesion | over 2 px | Object recall ↑ | 1.000 | 1.000 | 0.000 | - | 1 | 1 |",
    ]


def test_things_are_not_modified():
    things = make_things([1, 5, 9])
    before = [dict(row) for row in things]
    summarise_bands(band_rows(things, "px"))
    assert things == before


@pytest.mark.parametrize("edges", [(10.0, 3.0), (3.0, 10.0)])
def test_edges_may_come_in_any_order(edges):
    bands = [row["band"] for row in band_rows(make_things([2, 5, 20]), "px", edges)]
    assert list(dict.fromkeys(bands)) == ["up to 3 px", "3 to 10 px", "over 10 px"]
