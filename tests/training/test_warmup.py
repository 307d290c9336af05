"""`training.refiner_warmup`: the refiner learns alone for a while, then the segmentor follows."""

import copy

import pytest
from pydantic import ValidationError

from hidiff import experiment, weights
from hidiff.training import Budget, TrainingSettings
from tests.tiny import make_tiny, same_tensors, skip_counting
from tests.training.test_trainer import Killed, killed_at, make_batch, make_plain_trainer, rows_of

STAGES = {"trained": "in_turns", "joint": "joint"}
NETWORKS = ("segmentor", "refiner")


@pytest.fixture(params=STAGES)
def segmentor(request):
    return request.param


def test_the_segmentor_stands_still_and_is_at_rest_until_the_warmup_is_over(tmp_path, segmentor):
    stage = STAGES[segmentor]
    trainer = make_plain_trainer(
        tmp_path, lambda *_: iter([]), segmentor=segmentor, refiner_warmup=2
    )
    trainer.prepare(stage)
    moved = []
    for step in range(4):
        before = copy.deepcopy(trainer._networks())
        reported = trainer.step(stage, step, iter([make_batch(2)]))
        moved.append(
            {
                name: not same_tensors(before[name].state_dict(), network.state_dict())
                for name, network in trainer._networks().items()
            }
        )
        assert ("segmentor" in reported) == trainer.hybrid.segmentor.training == (step >= 2)
    assert all(each["live_refiner"] and each["refiner"] for each in moved)
    assert [each["segmentor"] for each in moved] == [False, False, True, True]
    assert trainer.ema.num_updates == 4


def test_the_segmentors_rate_falls_from_its_first_step(tmp_path):
    trainer = make_plain_trainer(
        tmp_path, lambda *_: iter([]), stage2_steps=10, refiner_warmup=4,
        segmentor_rate=0.02, refiner_rate=0.03, decay_power=1,
    )  # fmt: skip
    trainer.prepare("in_turns")
    found = []
    for step in (0, 3, 4, 7):
        trainer._set_rates("in_turns", step, 10)
        found.append([trainer.optimizers[name].param_groups[0]["lr"] for name in NETWORKS])
    assert found == [
        pytest.approx(pair) for pair in ([0.02, 0.03], [0.02, 0.021], [0.02, 0.018], [0.01, 0.009])
    ]


def test_stage_1_has_no_warmup(tmp_path):
    trainer = make_plain_trainer(tmp_path, lambda *_: iter([]), refiner_warmup=2, stage1_rate=0.5)
    trainer.prepare("stage1")
    trainer._set_rates("stage1", 0, 10)
    assert trainer.optimizers["segmentor"].param_groups[0]["lr"] == 0.5
    assert set(trainer.step("stage1", 0, iter([make_batch(2)]))) == {"segmentor"}


def test_the_budget_counts_its_steps_as_the_refiners(tmp_path, segmentor, monkeypatch):
    monkeypatch.setattr(experiment.training, "check_memory", lambda *_: None)
    recipe = make_tiny(
        tmp_path, training={"segmentor": segmentor, "stage2_steps": 10, "refiner_warmup": 4}
    )
    trainer = experiment.make_trainer(recipe, tmp_path / "run", cpu=True, validate=False)
    stage, budget = STAGES[segmentor], trainer.budget
    assert 0 < budget.refiner_only < budget.of(stage)
    assert trainer.flops(stage) == 4 * budget.refiner_only + 6 * budget.of(stage)


def test_the_baseline_costs_as_much(tmp_path):
    trainer = make_plain_trainer(
        tmp_path, lambda *_: iter([]), arm="segmentor_only", stage1_steps=1, stage2_steps=10,
        refiner_warmup=4,
    )  # fmt: skip
    trainer.budget = Budget(10, 30, 20)
    assert trainer.stages == {"stage1": 1, "segmentor_only": 26}


def test_a_run_killed_in_it_and_after_it_equals_one_that_never_was(tmp_path, monkeypatch):
    skip_counting(monkeypatch)
    training = {
        "stage1_steps": 2, "stage2_steps": 6, "refiner_warmup": 3, "save_every": 2,
        "validate_every": 3,
    }  # fmt: skip
    recipe = make_tiny(tmp_path, training=training, prediction={"steps": 1})
    whole = experiment.train(recipe, tmp_path / "whole", cpu=True)
    for step in (3, 5):
        run = experiment.make_trainer(recipe, tmp_path / "run", cpu=True)
        with pytest.raises(Killed):
            killed_at(run, "in_turns", step).run(resume=True)
    again = experiment.make_trainer(recipe, tmp_path / "run", cpu=True).run(resume=True)
    for name in ("last", "state"):
        one, two = (place.parent / f"{name}.safetensors" for place in (whole, again))
        assert same_tensors(weights.load(one)[0], weights.load(two)[0]), name
    assert rows_of(tmp_path / "run") == rows_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"segmentor": "frozen", "refiner_warmup": 1}, "segmentor is frozen"),
        ({"stage2_steps": 5, "refiner_warmup": 5}, "takes all 5 iterations"),
        ({"refiner_warmup": -1}, "greater than or equal to 0"),
    ],
)
def test_a_warmup_that_makes_no_sense_is_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        TrainingSettings(**settings)


def test_a_run_of_stage_1_alone_may_keep_it():
    assert TrainingSettings(stage2_steps=0, refiner_warmup=5).refiner_warmup == 5
