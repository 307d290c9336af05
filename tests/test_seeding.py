"""Draws that are a function of what they are for, and of nothing else."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hidiff.seeding import BLOCK, derive, generator, uniform_field, uniform_window

PLACES = st.integers(0, 3 * BLOCK)
SIDES = st.integers(1, 2 * BLOCK)


@pytest.mark.parametrize(
    ("words", "seed"),
    [
        ((0,), 4246866556266386882),
        ((1, "case", 3), 819241456198873656),
        ((2**40, "ä"), 1837468503998165491),
    ],
)
def test_seeds_are_the_same_on_every_machine_and_in_every_version(words, seed):
    # printf '1\x1fcase\x1f3' | b2sum -l 64: its first 8 bytes, little end first, halved
    assert derive(*words) == seed


def test_the_field_is_the_same_on_every_machine_and_in_every_version():
    field = uniform_field(0, "case", shape=(4,))
    assert (field * 2**24).tolist() == [13861761, 11089420, 13197622, 16693246]


@given(seed=st.integers(0, 2**63), words=st.lists(st.integers() | st.text(max_size=5), max_size=4))
def test_seeds_fit_in_63_bits(seed, words):
    assert 0 <= derive(seed, *words) < 2**63


def test_words_do_not_run_into_one_another():
    ways = [(1, 23), (12, 3), (123,), (1, "2", "3"), (1, "23"), (1, "2 3")]
    seeds = {way: derive(*way) for way in ways}
    assert seeds[1, 23] == seeds[1, "23"]  # a number and its digits are one word
    assert len(set(seeds.values())) == len(ways) - 1


def test_a_generator_of_its_own_moves_no_other():
    state = torch.get_rng_state()
    first = torch.rand(3, generator=generator(0, "a"))
    assert torch.equal(first, torch.rand(3, generator=generator(0, "a")))
    assert not torch.equal(first, torch.rand(3, generator=generator(0, "b")))
    assert torch.equal(torch.get_rng_state(), state)


def test_numbers_are_uniform_and_below_one():
    field = uniform_field(3, "x", shape=(1, 300, 300))
    assert field.dtype == torch.float32
    assert field.min() >= 0 and field.max() < 1
    counts = torch.histc(field, bins=10, min=0, max=1)
    assert (counts / field.numel() - 0.1).abs().max() < 5 * (0.09 / field.numel()) ** 0.5


# Windows of the endless field


def window(top, left, height, width, planes=1):
    return uniform_window(
        0, "case", 2, planes=planes, top=top, left=left, height=height, width=width
    )


@settings(max_examples=20)
@given(top=PLACES, left=PLACES, height=SIDES, width=SIDES, cut=st.data())
def test_a_window_is_its_parts_wherever_it_is_cut(top, left, height, width, cut):
    whole = window(top, left, height, width)
    assert whole.shape == (1, height, width)
    row, column = cut.draw(st.integers(0, height - 1)), cut.draw(st.integers(0, width - 1))
    lower_right = window(top + row, left + column, height - row, width - column)
    assert torch.equal(whole[:, row:, column:], lower_right)


def test_no_two_places_planes_or_words_share_numbers():
    whole = window(0, 0, 2 * BLOCK, 2 * BLOCK, planes=2).flatten()
    # of 32,768 draws out of 2^24 some meet by chance: 32 pairs are to be expected
    assert whole.unique().numel() > whole.numel() - 80
    other = uniform_window(0, "case", 3, planes=2, top=0, left=0, height=64, width=64).flatten()
    assert (other == window(0, 0, 64, 64, planes=2).flatten()).sum() < 5
