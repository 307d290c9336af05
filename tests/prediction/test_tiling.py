"""Our sliding window against MONAI's: the same tiles in order, the same maps in every bit."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data.utils import compute_importance_map
from monai.inferers.utils import sliding_window_inference
from torch.testing import assert_close

from hidiff.prediction.tiling import Tile, predict_tiles, tile_starts, tile_weight

CPU = torch.device("cpu")
sides = st.tuples(st.integers(1, 80), st.integers(1, 80))


def maps_of(tiles: torch.Tensor) -> dict[str, torch.Tensor]:
    """Maps that depend on the place in the tile, so that each tile's share is seen; not sorted."""
    rows, columns = (torch.arange(side) for side in tiles.shape[2:])
    return {
        "three": tiles[:, :1] * torch.tensor([1.0, -2.0, 0.3])[:, None, None] + columns,
        "one": tiles.square().sum(dim=1, keepdim=True) * rows[:, None],
    }


def monai(images, window, overlap, batch_size):
    """MONAI's maps, and the tiles that it cut, counted from the image's own corner."""
    tiles: list[Tile] = []
    above, before = (
        max(side - whole, 0) // 2 for side, whole in zip(window, images.shape[2:], strict=True)
    )

    def predict(cut, places):
        tiles.extend(
            Tile(place[0].start, int(place[2].start) - above, int(place[3].start) - before)
            for place in places
        )
        return maps_of(cut)

    maps = sliding_window_inference(
        images, window, batch_size, predict, overlap=overlap, mode="gaussian",
        padding_mode="replicate", with_coord=True,
    )  # fmt: skip
    return maps, tiles


def ours(images, window, overlap, batch_size):
    tiles: list[Tile] = []

    def predict(cut, places):
        tiles.extend(places)
        return maps_of(cut)

    maps = predict_tiles(
        predict, images, window, overlap=overlap, batch_size=batch_size, device=CPU
    )
    return maps, tiles


@given(
    size=sides,
    window=sides,
    overlap=st.one_of(st.sampled_from([0.0, 0.25, 0.5, 0.75]), st.floats(0, 0.9)),
    count=st.integers(1, 3),
    batch_size=st.integers(1, 9),
)
def test_tiles_and_maps_are_monais_bit_for_bit(size, window, overlap, count, batch_size):
    images = torch.randn(count, 2, *size)
    theirs, their_tiles = monai(images, window, overlap, batch_size)
    maps, tiles = ours(images, window, overlap, batch_size)
    assert tiles == their_tiles
    assert maps.keys() == theirs.keys()
    assert all(torch.equal(maps[name], theirs[name]) for name in maps)


@pytest.mark.parametrize("window", [(32, 32), (17, 64), (1, 5), (300, 40), (256, 256)])
def test_a_tiles_weight_is_monais_gaussian(window):
    theirs = compute_importance_map(window, mode="gaussian")
    assert torch.equal(tile_weight(window, CPU), theirs)


@given(sides=st.tuples(st.integers(1, 300), st.integers(1, 300)), overlap=st.floats(0, 0.99))
def test_tiles_leave_no_pixel_out_and_overlap_as_asked(sides, overlap):
    window, side = sorted(sides)
    starts = tile_starts(side, window, overlap)
    assert starts[0] == 0 and starts[-1] == side - window
    steps = [after - before for before, after in pairwise(starts)]
    assert all(0 < step <= max(window * (1 - overlap), 1) for step in steps)


def test_a_function_of_single_pixels_is_untouched_by_the_tiling():
    images = torch.rand(2, 1, 70, 45)
    maps = predict_tiles(
        lambda tiles, _: {"same": tiles}, images, (32, 64), overlap=0.25, batch_size=4, device=CPU
    )
    assert_close(maps["same"], images)
