"""The files of an evaluation: what a picture shows, and what belongs to it."""

import numpy as np

from hidiff.data import Intensity
from hidiff.inference.results import result_files, visible


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


def test_only_the_files_of_an_evaluation_are_found(tmp_path):
    (tmp_path / "pictures").mkdir()
    for name in ("rows.csv", "report.html", "pictures/worst_a.png", "notes.txt"):
        (tmp_path / name).touch()
    names = {str(file.relative_to(tmp_path)) for file in result_files(tmp_path)}
    assert names == {"rows.csv", "report.html", "pictures/worst_a.png"}
