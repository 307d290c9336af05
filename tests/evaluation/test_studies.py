"""Calibration and sizes, gathered case by case, equal what one look at all cases says."""

import numpy as np
import pytest

from hidiff.evaluation import evaluate
from hidiff.evaluation.studies import KINDS, CalibrationStudy, SizeStudy
from hidiff.experiment import list_cases, make_hybrid, make_predictor
from hidiff.metrics import expected_calibration_error
from hidiff.report.files import SIZE_FILES
from hidiff.report.results import write_reliability, write_sizes
from tests.tiny import make_tiny, shake


def study(folder, kind, *, samples=1, sizes="objects", refine=True):
    recipe = make_tiny(folder, kind)
    predictor, cases = (
        make_predictor(shake(make_hybrid(recipe)), recipe),
        list_cases(recipe, "train"),
    )
    calibration, by_size, kept = CalibrationStudy(samples), SizeStudy(sizes), []

    def done(case, prediction, truth, found):
        calibration.add(prediction, truth, predictor.labels, refine)
        by_size.add(case, prediction, truth, predictor.labels, refine)
        kept.append((prediction, truth))

    settings = {"samples": samples, "steps": 1, "trace": True} if refine else {}
    rows = evaluate(predictor, cases[:3], refine=refine, done=done, **settings)
    return calibration, by_size, kept, rows, predictor.labels


@pytest.mark.parametrize("kind", ["one_class", "exclusive"])
def test_curves_of_cases_add_up_to_that_of_all_pixels(tmp_path, kind):
    calibration, _, kept, rows, labels = study(tmp_path, kind, samples=2)
    assert list(calibration.curves) == list(labels.class_names)
    for number, (name, curves) in enumerate(calibration.curves.items()):
        assert list(curves) == ["prior", "one sample", "mean of 2 samples"]
        y0 = np.concatenate([labels.class_masks(truth.labels)[name] for _, truth in kept])
        for source, curve in (("prior", "prior"), ("probability", "mean of 2 samples")):
            maps = [getattr(each, source)[labels.class_planes][number] for each, _ in kept]
            error = expected_calibration_error(np.concatenate(maps)[None], y0[None])
            assert curves[curve].error == pytest.approx(error[0])
    assert all(0 <= row["ece"] <= 1 and 0 <= row["brier"] <= 1 for row in rows)


def test_without_refining_only_the_prior_has_a_curve_and_sizes(tmp_path):
    calibration, by_size, *_ = study(tmp_path, "one_class", refine=False)
    assert list(calibration.curves["curve"]) == ["prior"]
    assert {row["source"] for row in by_size.rows} == {"prior"}


@pytest.mark.parametrize("sizes", KINDS)
def test_every_pixel_of_the_truth_is_in_one_band(tmp_path, sizes):
    _, by_size, kept, rows, labels = study(tmp_path, "regions", sizes=sizes)
    for name in labels.class_names:
        masks = [labels.class_masks(truth.labels)[name] for _, truth in kept]
        bands = [band for band in by_size.bands if band.class_name == name]
        things = [r for r in by_size.things if (r["class"], r["source"]) == (name, "prior")]
        pixels = [row["size"] if sizes == "objects" else row["count"] for row in things]
        assert sum(pixels) == sum(mask.sum() for mask in masks)
        assert sum(band.count for band in bands) == sum(row["count"] for row in things)
    if sizes == "calibre":
        # All widths together are the sensitivity of the whole mask.
        for row in rows:
            here = [
                t
                for t in by_size.things
                if all(t[k] == row[k] for k in ("case", "class", "source"))
            ]
            share = np.average([t["sensitivity"] for t in here], weights=[t["count"] for t in here])
            assert share == pytest.approx(row["sensitivity"])


def test_the_files_say_what_was_counted(tmp_path):
    calibration, by_size, *_ = study(tmp_path / "data", "one_class")
    write_reliability(tmp_path, calibration)
    write_sizes(tmp_path, by_size)
    head, *lines = (tmp_path / "reliability.csv").read_text().splitlines()
    assert head == "class,source,bin,pixels,mean_probability,share_true"
    assert sum(int(line.split(",")[3]) for line in lines if ",prior," in line) == 3 * 64 * 64
    table = (tmp_path / SIZE_FILES[1]).read_text()
    assert "| curve | Object F1 ↑ |" in table
    assert "| objects | n |" in table
    assert (tmp_path / SIZE_FILES[0]).read_text().startswith("case,group,class,source,band,count,")


def test_where_nothing_is_there_is_no_band(tmp_path):
    empty = SizeStudy("objects")
    assert empty.band_rows == [] and empty.bands == []
