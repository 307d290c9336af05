"""The part of a large window that a correction refines."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hidiff.prediction.reach_crop import MARGIN, WORTH, ReachCrop, crops_around
from hidiff.prediction.seen import Seen
from tests.correction.models import NEAR, REACH, make_image, make_kind, make_packed, start

WINDOW = (256, 256)


@given(
    sides=st.tuples(*[st.integers(2, 9).map(lambda n: 32 * n)] * 2),
    data=st.data(),
)
def test_a_crop_holds_the_reach_and_its_margin_at_multiples_of_32(sides, data):
    height, width = sides
    rows, columns = (
        sorted(data.draw(st.lists(st.integers(0, side - 1), min_size=2, max_size=2)))
        for side in sides
    )
    reach = torch.zeros(1, 1, height, width, dtype=torch.bool)
    reach[..., rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = True
    (crop,) = crops_around(reach)
    assert all(side % 32 == 0 for side in crop)
    assert crop.bottom - crop.top >= 64 and crop.right - crop.left >= 64
    assert 0 <= crop.top <= max(rows[0] - MARGIN, 0) and 0 <= crop.left <= columns[0]
    assert min(rows[1] + MARGIN, height - 1) < crop.bottom <= height
    assert min(columns[1] + MARGIN, width - 1) < crop.right <= width
    area = (crop.bottom - crop.top) * (crop.right - crop.left)
    assert area <= WORTH * height * width or crop == (0, height, 0, width)


def test_each_stride_is_cut_where_the_image_is():
    def numbered(stride):
        rows = torch.arange(256 // stride)[:, None] * stride
        return (1000 * rows + torch.arange(256 // stride) * stride)[None, None].float()

    seen = Seen(numbered(1), numbered(1), ((numbered(4), numbered(32)),))
    part = ReachCrop(64, 160, 32, 128).cut_seen(seen)
    for values in (part.image, *part.prepared[0]):
        assert values[0, 0, 0, 0] == 1000 * 64 + 32
    assert [values.shape[2] for values in (part.image, *part.prepared[0])] == [96, 24, 3]
    whole = ReachCrop(0, 256, 0, 256)
    assert whole.cut_seen(seen) is seen


@pytest.mark.parametrize(
    ("mirror", "place"), [(0, (74, 52)), (1, (74, 148)), (2, (106, 52)), (3, (106, 148))]
)
def test_a_crop_of_a_mirrored_window_lies_where_it_shows(mirror, place):
    crop = ReachCrop(64, 160, 32, 128)
    assert crop.place(("image", 10, 20), WINDOW, mirror) == ("image", *place)


@pytest.mark.parametrize("make", [make_kind, make_packed])
def test_a_mark_in_a_large_window_refines_a_crop_of_it(tmp_path, make, monkeypatch):
    predictor = make(tmp_path)
    session = start(predictor, make_image(WINDOW), window_size=WINDOW)
    before = session.probability.copy()
    sizes = []
    refine = predictor.hybrid.refine

    def note(image, *rest):
        sizes.append(tuple(image.shape[2:]))
        return refine(image, *rest)

    monkeypatch.setattr(predictor.hybrid, "refine", note)
    session.click((100, 100), "curve", radius=2)
    # reach and margin: 100 - 2 - 12 - 32 = 54 to 147, from 32 to 160
    assert sizes == [(128, 128)]
    assert session.labels[100, 100] == 1
    changed = np.abs(session.probability - before).max(axis=0) > 0
    rows, columns = np.nonzero(changed)
    far = 2 + REACH
    assert len(rows) and max(abs(rows - 100).max(), abs(columns - 100).max()) <= far
    session.undo()
    assert np.array_equal(session.probability, before)


def test_a_mirrored_correction_with_a_crop_is_turned_back(tmp_path):
    predictor = make_kind(tmp_path)
    image = make_image(WINDOW)
    session = start(predictor, image, window_size=WINDOW, mirror=True, settings=NEAR)
    session.click((100, 40), "curve", radius=2)
    turned = start(predictor, image[:, ::-1].copy(), window_size=WINDOW, mirror=True)
    turned.click((100, 255 - 40), "curve", radius=2)
    np.testing.assert_allclose(
        session.probability, turned.probability[..., ::-1], rtol=0, atol=1e-3
    )
