import pytest
import torch
from torch.testing import assert_close

from hidiff.diffusion import SCHEDULES, make_schedule, subset


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("num_steps", [20, 100])
def test_alpha_bar_falls_from_one_by_the_betas(name, num_steps):
    schedule = make_schedule(name, num_steps)
    assert schedule.num_steps == num_steps and schedule.alpha_bar[0] == 1
    kept = 1 - schedule.betas
    assert_close(schedule.alpha_bar[1:], schedule.alpha_bar[:-1] * kept, rtol=1e-12, atol=0)
    assert (schedule.alpha_bar.diff() < 0).all() and (schedule.alpha_bar >= 0).all()


def test_uniform_falls_in_equal_steps_to_nothing():
    expected = torch.linspace(1, 0, 11, dtype=torch.float64)
    assert_close(make_schedule("uniform", 10).alpha_bar, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", ["cosine", "cosine2", "uniform"])
def test_one_step_is_a_schedule(name):
    assert make_schedule(name, 1).alpha_bar[1] < 0.002


def test_a_beta_that_is_no_chance_is_refused():
    with pytest.raises(ValueError, match=r"'linear' over 19 steps .*1\.05263 at step t = 19"):
        make_schedule("linear", 19)
    assert make_schedule("linear", 20).betas[-1] == 1


def test_an_unknown_schedule_and_no_steps_are_refused():
    with pytest.raises(ValueError, match="cosine, cosine2, uniform, linear"):
        make_schedule("quadratic", 10)
    with pytest.raises(ValueError, match="at least 1"):
        make_schedule("cosine", 0)


def test_at_picks_the_step_of_each_row_in_float32():
    schedule = make_schedule("uniform", 4)
    picked = schedule.at(torch.tensor([0, 4, 1]))
    assert_close(picked, torch.tensor([1, 0, 0.75]).reshape(3, 1, 1, 1))


@pytest.mark.parametrize("t", [[-1, 2], [1, 5]])
def test_at_refuses_steps_that_would_wrap_or_do_not_exist(t):
    with pytest.raises(ValueError, match=rf"from {t[0]} to {t[1]}"):
        make_schedule("uniform", 4).at(torch.tensor(t))


@pytest.mark.parametrize("num_steps", [1, 2, 7, 10, 100])
def test_a_subset_holds_the_last_step_falls_and_is_even(num_steps):
    for count in range(1, num_steps + 1):
        steps = subset(num_steps, count)
        gaps = [a - b for a, b in zip(steps, [*steps[1:], 0], strict=True)]
        assert len(steps) == count and steps[0] == num_steps
        assert min(gaps) >= 1 and max(gaps) - min(gaps) <= 1


def test_a_subset_by_number_or_by_name():
    assert subset(10, 5) == [10, 8, 6, 4, 2]
    assert subset(10, 1) == [10]
    assert subset(10, [1, 10, 4]) == [10, 4, 1]


@pytest.mark.parametrize("steps", [0, 11, [], [1, 4], [10, 0], [11, 10], [10, 4, 4]])
def test_a_subset_that_cannot_be_is_refused(steps):
    with pytest.raises(ValueError, match=r"Ask for 1 to 10|Add 10|repeats"):
        subset(10, steps)
