"""The order of cases: a resumed run and the ranks together find the same one."""

from itertools import chain, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hidiff.loading import Draws

SMALL = st.integers(1, 12)


def batches(count, *args, **options):
    return list(islice(Draws(*args, **options), count))


@given(num_cases=SMALL, batch_size=SMALL, first=st.integers(0, 20), seed=st.integers(0, 3))
def test_a_resumed_run_goes_on_where_it_stopped(num_cases, batch_size, first, seed):
    whole = batches(first + 5, num_cases, seed, batch_size)
    assert batches(5, num_cases, seed, batch_size, first_batch=first) == whole[first:]


@given(num_cases=SMALL, share=st.integers(1, 4), world=st.integers(1, 4))
def test_the_ranks_slices_make_the_whole(num_cases, share, world):
    whole = batches(7, num_cases, 0, share * world)
    ranks = [
        batches(7, num_cases, 0, share * world, rank=rank, world=world) for rank in range(world)
    ]
    assert [list(chain(*parts)) for parts in zip(*ranks, strict=True)] == whole


@given(num_cases=SMALL, batch_size=SMALL)
def test_every_epoch_shows_each_case_once(num_cases, batch_size):
    keys = list(chain(*batches(3 * num_cases, num_cases, 0, batch_size)))
    for epoch in range(3):
        place = slice(epoch * num_cases, (epoch + 1) * num_cases)
        assert {key[0] for key in keys[place]} == {epoch}
        assert sorted(key[1] for key in keys[place]) == list(range(num_cases))


def test_epochs_and_seeds_have_orders_of_their_own():
    keys = list(chain(*batches(2, 20, 0, 20)))
    first, second = ([case for _, case in keys[place]] for place in (slice(20), slice(20, 40)))
    assert first != second
    assert first != [case for _, case in batches(1, 20, 1, 20)[0]]


def test_an_uneven_share_is_refused():
    with pytest.raises(ValueError, match="batch_size is 5, but 2 processes"):
        Draws(10, 0, 5, world=2)


@pytest.mark.parametrize(("num_cases", "batch_size"), [(0, 1), (1, 0)])
def test_no_cases_make_no_batch(num_cases, batch_size):
    with pytest.raises(ValueError, match="make no batch"):
        Draws(num_cases, 0, batch_size)
