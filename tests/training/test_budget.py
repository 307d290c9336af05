"""The budget in FLOPs: against a count by hand, and the arithmetic of equal arms."""

from functools import cache

import pytest
import torch
from torch import nn

from hidiff.hybrid import DiffusionSettings, HybridSegmentor
from hidiff.labels import Labels
from hidiff.refiner import Refiner, RefinerSettings
from hidiff.segmentors import wrap
from hidiff.training import Budget, TrainingSettings, count_flops, plan_stages, time_steps
from hidiff.training.budget import flop_counter
from hidiff.training.stages import BASELINE, IN_TURNS, JOINT, REFINER_ONLY, STAGE1
from tests.tiny import same_tensors

LABELS = Labels(kind="one_class", classes={"a": (1,)})


class Plain(nn.Module):
    """Two convolutions: stride 4, then one to the plane."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 6, 5, stride=4, padding=2)
        self.head = nn.Conv2d(6, 1, 3, padding=1)

    def forward(self, image):
        return nn.functional.interpolate(self.head(self.down(image)), scale_factor=4.0)


def make(hints=False):
    torch.manual_seed(0)
    segmentor = wrap(Plain(), features={4: "down"})
    settings = RefinerSettings(width=8, hints=hints)
    refiner = Refiner(3, 1, segmentor.feature_channels, settings)
    return HybridSegmentor(segmentor, refiner, LABELS, DiffusionSettings(num_steps=4)).eval()


@cache
def count(height=64, batch_size=6, diffusion_weight=1.0, hints=False):
    """Return FLOPs by stage on patches `height` high and 96 wide. Counting moves nothing."""
    hybrid, twin = make(hints), make(hints)
    settings = TrainingSettings(batch_size=batch_size, diffusion_weight=diffusion_weight)
    budget = count_flops(hybrid, (height, 96), settings)
    assert same_tensors(hybrid.state_dict(), twin.state_dict())
    assert all(parameter.grad is None for parameter in hybrid.parameters())
    assert not any(module.training for module in hybrid.modules())
    return budget.per_step


def test_a_plain_network_is_counted_as_by_hand():
    # a multiply-add is two FLOPs; backward costs as much for the weights and as much again for
    # the input, which the first layer's input, the image, does not ask for
    grid = (64 // 4) * (96 // 4)
    down = 2 * grid * 6 * 3 * 5 * 5
    head = 2 * grid * 1 * 6 * 3 * 3
    assert count()[STAGE1] == count()[BASELINE] == 6 * (2 * down + 3 * head)


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("groups", [1, 2, 8])
def test_backward_through_groups_costs_twice_the_forward(kind, groups):
    conv = kind(8, 8, 3, padding=1, groups=groups)
    image = torch.zeros(2, 8, 10, 12, requires_grad=True)
    with flop_counter() as counter:
        conv(image).sum().backward()
    forward = 2 * (2 * 10 * 12) * 8 * (8 // groups) * 3 * 3
    assert counter.get_total_flops() == 3 * forward


@pytest.mark.parametrize(
    ("changes", "stages"),
    [({}, {STAGE1, IN_TURNS}), ({"segmentor": "frozen"}, {REFINER_ONLY})],
)
def test_the_steps_of_each_stage_are_timed_and_move_nothing(changes, stages):
    hybrid, twin = make(), make()
    seconds = time_steps(hybrid, (64, 96), TrainingSettings(batch_size=3, **changes))
    assert seconds.keys() == stages
    assert all(each > 0 for each in seconds.values())
    assert same_tensors(hybrid.state_dict(), twin.state_dict())
    assert all(parameter.grad is None for parameter in hybrid.parameters())


def test_a_large_batch_is_timed_in_part(monkeypatch):
    monkeypatch.setattr("hidiff.training.budget.MOST_TIMED", 2)
    clock = iter(range(100))  # a step takes a second
    monkeypatch.setattr("hidiff.training.budget.time.monotonic", lambda: next(clock))
    seconds = time_steps(make(), (64, 96), TrainingSettings(batch_size=10))
    assert set(seconds.values()) == {10 / 2}


def test_it_grows_with_batch_and_pixels():
    base, more = count(), count(height=128, batch_size=12)
    assert more[STAGE1] == 4 * base[STAGE1]
    # attention grows with the square of the pixels, the part of time not at all
    assert more[IN_TURNS] == pytest.approx(4 * base[IN_TURNS], rel=0.1)


def test_hint_planes_cost_their_convolution():
    convolution = 2 * 9 * 1 * 8 * 64 * 96  # of an image: 3x3, one plane to 8 channels
    plain, hinted = count(batch_size=2), count(batch_size=2, hints=True)
    assert hinted[STAGE1] == plain[STAGE1]
    # forward and the weight's gradient in the refiner's half, forward alone in the segmentor's
    assert hinted[IN_TURNS] - plain[IN_TURNS] == 2 * 3 * convolution


def test_in_turns_holds_the_segmentor_once_and_the_refiner_in_both_halves():
    with_it, without = count(), count(diffusion_weight=0.0)
    assert with_it[STAGE1] == without[STAGE1] < without[IN_TURNS]
    refiner_half = without[IN_TURNS] - without[STAGE1]
    segmentor_half = with_it[IN_TURNS] - without[IN_TURNS]
    # the refiner forward, and backward to its input only, is about two thirds of its own half
    assert 0.55 < segmentor_half / refiner_half < 0.8


@pytest.mark.parametrize(
    ("segmentor_only", "in_turns", "steps", "equal"),
    [(10, 35, 4, 14), (10, 35, 5, 18), (3, 10, 1, 3), (7, 7, 9, 9), (2, 10**15, 3, 15 * 10**14)],
)
def test_the_baselines_steps_cost_what_the_hybrids_do(segmentor_only, in_turns, steps, equal):
    budget = Budget({BASELINE: segmentor_only, IN_TURNS: in_turns})
    found = budget.equal_steps(BASELINE, IN_TURNS, steps)
    assert found == equal
    assert abs(found * segmentor_only - steps * in_turns) <= segmentor_only / 2


@pytest.mark.parametrize(
    ("settings", "stages"),
    [
        ({}, {STAGE1: 6, IN_TURNS: 4}),
        ({"segmentor": "joint"}, {STAGE1: 6, JOINT: 4}),
        ({"segmentor": "frozen"}, {REFINER_ONLY: 4}),
        ({"arm": "segmentor_only"}, {STAGE1: 6, BASELINE: 12}),
        ({"arm": "segmentor_only", "segmentor": "joint"}, {STAGE1: 6, BASELINE: 8}),
        ({"stage1_steps": 0}, {IN_TURNS: 4}),
        ({"stage2_steps": 0}, {STAGE1: 6}),
        ({"stage2_steps": 0, "segmentor": "frozen"}, {}),
    ],
)
def test_the_settings_choose_the_stages_and_their_steps(settings, stages):
    budget = Budget({STAGE1: 1, BASELINE: 1, IN_TURNS: 3, JOINT: 2})
    plan = plan_stages(
        TrainingSettings(**{"stage1_steps": 6, "stage2_steps": 4, **settings}), budget
    )
    assert list(plan.items()) == list(stages.items())
