"""Four feature maps at strides 4 to 32, out of whatever a network has."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from hidiff.segmentors.base import STRIDES
from hidiff.segmentors.pyramid import choose_strides, to_pyramid

ANY = st.sets(st.sampled_from([1, 2, 4, 8, 16, 32]), min_size=1)


@pytest.mark.parametrize(
    ("available", "chosen"),
    [
        ([4, 8, 16, 32], (4, 8, 16, 32)),
        ([4, 8, 16], (4, 8, 16, 16)),
        ([8, 16], (8, 8, 16, 16)),
        ([32], (32, 32, 32, 32)),
        ([1], (1, 1, 1, 1)),
        ([2, 16], (2, 2, 16, 16)),
    ],
)
def test_the_nearest_finer_stride_stands_in_else_the_nearest_coarser(available, chosen):
    assert choose_strides(available) == chosen


@given(strides=ANY, rows=st.integers(1, 3), columns=st.integers(1, 3))
def test_any_strides_make_a_pyramid_of_exact_sizes(strides, rows, columns):
    height, width = 32 * rows, 32 * columns
    features = {s: torch.full((2, s, height // s, width // s), float(s)) for s in strides}
    pyramid = to_pyramid(features, height, width)
    assert [tuple(f.shape[2:]) for f in pyramid] == [(height // s, width // s) for s in STRIDES]
    for feature, source in zip(pyramid, choose_strides(sorted(strides)), strict=True):
        # neither pooling nor interpolation changes a constant
        assert_close(feature, torch.full_like(feature, float(source)))
        assert feature.shape[1] == source


def test_a_map_that_fits_is_passed_on_untouched():
    features = {s: torch.randn(1, 2, 64 // s, 64 // s) for s in STRIDES}
    pyramid = to_pyramid(features, 64, 64)
    assert all(out is features[s] for out, s in zip(pyramid, STRIDES, strict=True))


def test_a_finer_map_is_averaged():
    finer = torch.arange(16.0).reshape(1, 1, 4, 4)
    pyramid = to_pyramid({16: finer}, 64, 64)
    expected = finer.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(4, 5))
    assert_close(pyramid[3], expected)


def test_no_features_at_all_are_refused():
    with pytest.raises(ValueError, match="name one layer at least"):
        choose_strides([])
