"""Crops around a place of a volume: cut at a size in mm, and put back where they came from."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hidiff.images import Intensity, PictureGeometry, VolumeGeometry
from hidiff.loading import place_crop, stretch
from tests.volumes import make_grid

SIZE = (64, 64)
GEOMETRY = VolumeGeometry(make_grid(90, 80, 5))  # 2 mm along rows and columns


def waves(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """A smooth function of a row and a column."""
    return torch.sin(rows[:, None] / 9) + torch.cos(columns[None] / 7)


def test_the_place_lies_in_the_middle_and_pixels_have_the_size_asked_for():
    crop = place_crop((40, 50, 2), GEOMETRY, SIZE, 0.5)
    rows, columns = torch.arange(80.0)[:, None].expand(80, 90), torch.arange(90.0).expand(80, 90)
    cut_rows, cut_columns = crop.cut(torch.stack([rows, columns]))
    # the middle of 64 pixels lies between two of them; a pixel of 0.5 mm is a quarter of one of 2
    assert cut_rows[31:33, 0].tolist() == pytest.approx([40 - 0.125, 40 + 0.125], abs=1e-4)
    assert cut_columns[0, 31:33].tolist() == pytest.approx([50 - 0.125, 50 + 0.125], abs=1e-4)
    assert cut_rows[63, 0] - cut_rows[0, 0] == pytest.approx(63 / 4, abs=1e-3)


@given(
    st.floats(20, 60), st.floats(20, 60), st.sampled_from([1.4, 2.0, 2.8])
)  # what a crop shows lies in the slice
def test_what_is_cut_comes_back_to_its_place(row, column, crop_mm):
    crop = place_crop((row, column, 0), GEOMETRY, (32, 32), crop_mm)
    field = waves(torch.arange(80.0), torch.arange(90.0))
    back = crop.paste(crop.cut(field))
    well_inside = crop.paste(torch.ones(32, 32)) > 0
    shown = torch.zeros_like(well_inside)
    shown[1:-1, 1:-1] = well_inside[1:-1, 1:-1] & well_inside[2:, 1:-1] & well_inside[:-2, 1:-1]
    shown[:, 1:-1] &= well_inside[:, 2:] & well_inside[:, :-2]
    assert (back - field)[shown].abs().max() < 0.03
    assert (back[~crop.inside] == 0).all()


def test_one_pixel_of_the_crop_comes_back_where_it_was_seen():
    crop = place_crop((33.5, 47.5, 1), GEOMETRY, SIZE, 2.0)  # pixel on pixel
    marked = torch.zeros(80, 90, dtype=torch.bool)
    marked[30, 44] = True
    seen = crop.cut_nearest(marked)
    assert seen.dtype == torch.bool
    assert seen.sum() == 1
    assert torch.equal(crop.paste_nearest(seen), marked)


def test_past_the_rim_the_rim_is_repeated_and_nothing_is_pasted():
    crop = place_crop((0, 0, 0), GEOMETRY, SIZE, 2.0)
    field = torch.arange(80.0)[:, None] + torch.arange(90.0)[None] + 5
    cut = crop.cut(field)
    assert (cut[:31, :31] == 5).all()
    assert crop.inside.sum() == 33 * 33 or crop.inside.sum() == 32 * 32
    assert crop.paste(torch.ones(SIZE)).sum() == crop.inside.sum()


@pytest.mark.parametrize(
    "at", [(80, 0, 0), (0, 90, 0), (0, 0, 5), (-1, 0, 0), (float("nan"), 0, 0)]
)
def test_a_place_outside_is_refused_with_the_volumes_size(at):
    with pytest.raises(ValueError, match=r"rows 0 to 79, columns 0 to 89 and slices 0 to 4\.$"):
        place_crop(at, GEOMETRY, SIZE, 0.7)


def test_a_picture_has_no_millimetres():
    with pytest.raises(ValueError, match="A picture is the crop itself: leave at out"):
        place_crop((1, 1, 0), PictureGeometry((64, 64)), SIZE, 0.7)


def test_a_crop_is_stretched_to_the_whole_scale_of_unit_intensity_alone():
    values = np.array([[[-1000.0, 0.0], [200.0, 1000.0]]])
    np.testing.assert_allclose(stretch(values, Intensity())[0, :, 0], [0, 255 * 0.6])
    assert stretch(np.full((1, 2, 2), 7.0), Intensity()).max() == 0
    window = Intensity(kind="window", window=(-160, 240))
    assert stretch(values, window) is values
