"""Bits in words, blocks and offsets, against hand-made and brute-force ones."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hidiff.binary import above_threshold
from hidiff.packed import pack_weight
from hidiff.packed.layout import attention_thresholds, num_words, pack_bits, unpack_bits


def test_channel_c_is_bit_c_mod_32_of_word_c_div_32():
    bits = torch.zeros(70, dtype=torch.bool)
    bits[[0, 5, 31, 32, 69]] = True
    assert pack_bits(bits).tolist() == [1 + 2**5 - 2**31, 1, 2**5]


@given(channels=st.integers(1, 200), seed=st.integers(0, 1000))
def test_unpacking_undoes_packing_and_padding_is_zero(channels, seed):
    bits = torch.rand(3, channels, generator=torch.Generator().manual_seed(seed)) < 0.5
    words = pack_bits(bits)
    assert words.shape == (3, num_words(channels))
    assert torch.equal(unpack_bits(words, channels), bits)
    assert not unpack_bits(words, 32 * num_words(channels))[:, channels:].any()


def test_the_wrong_number_of_channels_is_refused():
    with pytest.raises(ValueError, match="64 channels want 2"):
        unpack_bits(torch.zeros(4, 1, dtype=torch.int32), 64)


def test_a_block_holds_one_word_of_16_output_channels_side_by_side():
    weight = pack_weight(torch.randn(20, 40, 3, 3))
    assert weight.signs.shape == (20, 9, 2)
    assert weight.blocks.shape == (2, 18, 16)
    assert weight.blocks[1, 2 * 7 + 1, 3] == weight.signs[19, 7, 1]
    assert not weight.blocks[1, :, 4:].any()


def test_offsets_take_out_the_products_with_the_zeros_around_the_image():
    signs = torch.where(torch.rand(5, 33, 3, 3) < 0.5, -1.0, 1.0)
    offsets = pack_weight(signs).offsets
    image = -torch.ones(1, 33, 3, 3)  # what the kernels read where there is nothing
    for sides in range(16):
        top, bottom, left, right = (sides >> i & 1 for i in range(4))
        present = torch.zeros(3, 3)
        present[top : 3 - bottom, left : 3 - right] = 1
        true_sum = (signs * image * present).sum(dim=(1, 2, 3))
        differ = (signs > 0).sum(dim=(1, 2, 3))
        assert torch.equal(offsets[sides, :5] - 2 * differ, true_sum.int())


def test_a_kernel_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"5x5.*keep other layers in floats"):
        pack_weight(torch.randn(4, 4, 5, 5))


@pytest.mark.parametrize("head_dim", [1, 8, 20, 33, 100, 128])
def test_thresholds_decide_as_the_float_model_does(head_dim):
    thresholds = attention_thresholds(head_dim)
    for largest in range(-head_dim, head_dim + 1):
        scores = torch.arange(-head_dim, largest + 1)
        attended = above_threshold((scores / math.sqrt(head_dim))[None])[0] == 1
        assert torch.equal(scores > thresholds[largest + head_dim], attended)
