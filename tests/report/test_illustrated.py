"""The report with pictures: what a picture shows of an image, and which slice of a volume."""

import numpy as np

from hidiff.datasets import Case
from hidiff.evaluation import evaluate
from hidiff.images import Intensity
from hidiff.report.illustrated import visible, write_illustrated_report
from hidiff.report.results import write_tables
from tests.volumes import Echo, make_grid, write_nifti


def test_colour_of_8_bits_is_shown_as_it_is():
    raw = np.random.default_rng(0).integers(0, 256, (3, 5, 7)).astype(np.float32)
    np.testing.assert_array_equal(visible(raw, Intensity()), raw.transpose(1, 2, 0))


def test_16_bits_are_shown_by_their_full_scale():
    raw = np.full((1, 2, 2), 65535, np.float32)
    raw[0, 0, 0] = 0
    picture = visible(raw, Intensity(full_scale=65535))
    assert picture[0, 0].tolist() == [0, 0, 0]
    assert picture[1, 1].tolist() == [255, 255, 255]


def test_of_slices_as_channels_the_middle_one_is_shown():
    raw = np.stack([np.full((2, 2), value, np.float32) for value in (0, 10, 20, 30, 40)])
    assert (visible(raw, Intensity()) == 20).all()


def test_values_without_a_scale_are_stretched():
    raw = np.linspace(-1000, 3000, 100, dtype=np.float32).reshape(1, 10, 10)
    picture = visible(raw, Intensity(kind="zscore"))
    assert picture.min() == 0
    assert picture.max() == 255


def test_a_constant_image_is_shown():
    assert visible(np.zeros((1, 4, 4), np.float32), Intensity(kind="zscore")).max() == 0


def test_of_a_volume_the_fullest_slice_is_shown(tmp_path):
    grid = make_grid(64, 64, 4)
    mask = np.zeros(grid.shape, np.uint8)
    mask[10:20, 10:20, 1], mask[10:40, 10:40, 2] = 1, 4
    file = write_nifti(tmp_path / "a.nii.gz", mask, grid)
    model, cases = Echo(), [Case("a", file, file, None, "a")]
    model.refines = False
    rows = evaluate(model, cases)
    assert {row["dice"] for row in rows if row["class"] in ("rv", "lv")} == {1.0}
    summary = write_tables(tmp_path, rows)
    page = write_illustrated_report(tmp_path, rows, summary, model, cases, title="a", facts={})
    text = page.read_text(encoding="utf-8")
    assert "a, slice 3 of 4" in text
    assert "HD95 (mm)" in text
