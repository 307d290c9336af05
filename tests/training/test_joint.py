"""Joint training: one step of both networks on one sum, resumed and counted like any other."""

import copy

import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from hidiff import experiment, weights
from hidiff.diffusion import LossWeights
from hidiff.training import Budget, TrainingSettings, count_flops
from hidiff.training.stages import BASELINE, IN_TURNS, JOINT, STAGE1
from hidiff.training.steps import Batch, draw_noise, joint_step, refiner_step, segmentor_step
from tests.tiny import COSTS, make_tiny, same_tensors, shake
from tests.training.test_steps import biases_before_norms, gradients
from tests.training.test_trainer import Killed, killed_at, make_batch, make_plain_trainer, rows_of

WEIGHTS = LossWeights()
TRAINING = {
    "segmentor": "joint", "stage1_steps": 1, "stage2_steps": 4, "save_every": 2,
    "validate_every": 3,
}  # fmt: skip


@pytest.fixture
def hybrid(tmp_path):
    return shake(experiment.make_hybrid(make_tiny(tmp_path, refiner={"precision": "real"}))).train()


@pytest.fixture
def batch():
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    y0 = (torch.rand(2, 1, 64, 64) < 0.3).float()
    return Batch(["a", "b"], image, y0, torch.ones_like(y0))


def gradients_of(network, loss):
    network.zero_grad()
    loss.backward()
    return gradients(network)


# One step


@pytest.mark.parametrize("diffusion_weight", [1.0, 0.25])
def test_on_one_draw_each_network_gets_the_gradient_of_its_half(hybrid, batch, diffusion_weight):
    draws = draw_noise(batch, 4, 0, "test")
    twin = copy.deepcopy(hybrid)
    look = twin.look(batch.image)
    halves = {"refiner": refiner_step(twin, twin.refiner, look, batch, draws, WEIGHTS)["loss"]}
    halves["segmentor"] = segmentor_step(twin, look, batch, draws, WEIGHTS, diffusion_weight)[
        "loss"
    ]
    apart = {name: gradients_of(getattr(twin, name), loss) for name, loss in halves.items()}

    look = hybrid.look(batch.image)
    losses = joint_step(hybrid, hybrid.refiner, look, batch, draws, WEIGHTS, diffusion_weight)
    losses["loss"].backward()
    assert_close(losses["loss"], losses["segmentor"] + diffusion_weight * losses["refiner"])
    exempt = biases_before_norms(hybrid.segmentor)
    for name, scale in (("segmentor", 1.0), ("refiner", diffusion_weight)):
        found = gradients(getattr(hybrid, name))
        assert found.keys() == apart[name].keys()
        for key in found.keys() - exempt:
            assert_close(found[key], scale * apart[name][key], rtol=1e-3, atol=1e-5)


def test_an_iteration_calls_each_network_once_and_moves_both_and_the_average(tmp_path):
    trainer = make_plain_trainer(tmp_path, lambda *_: iter([]), segmentor="joint")
    trainer.prepare(JOINT)
    calls = {"segmentor": 0, "refiner": 0}
    for name in calls:

        def count(*_, name=name):
            calls[name] += 1

        getattr(trainer.hybrid, name).register_forward_pre_hook(count)
    networks = trainer.saved_networks
    before = {name: copy.deepcopy(network.state_dict()) for name, network in networks.items()}
    reported = trainer.step(JOINT, 0, iter([make_batch(2)]))
    assert calls == {"segmentor": 1, "refiner": 1}
    for name, network in networks.items():
        assert not same_tensors(before[name], network.state_dict()), name
        assert not any(p.grad is not None and p.grad.any() for p in network.parameters())
    assert trainer.ema.num_updates == 1
    assert set(reported) == {"segmentor", "refiner", "kl", "cross_entropy", "soft_dice"}


def test_accumulated_parts_move_once(tmp_path):
    trainer = make_plain_trainer(tmp_path, lambda *_: iter([]), segmentor="joint", accumulation=2)
    trainer.prepare(JOINT)
    reported = trainer.step(JOINT, 0, iter([make_batch(2), make_batch(2, first=2)]))
    assert trainer.ema.num_updates == 1
    moments = trainer.optimizers["refiner"].state_dict()["state"]
    assert {int(moment["step"]) for moment in moments.values()} == {1}
    terms = reported["kl"] + reported["cross_entropy"] + reported["soft_dice"]
    assert_close(reported["refiner"], terms)


# A run


def test_a_run_killed_again_and_again_equals_one_that_never_was(tmp_path):
    recipe = make_tiny(tmp_path, training=TRAINING, prediction={"steps": 1})
    whole = experiment.train(recipe, tmp_path / "whole", cpu=True, budget=COSTS)
    for step in (1, 3):
        trainer = killed_at(
            experiment.make_trainer(recipe, tmp_path / "run", cpu=True, budget=COSTS), "joint", step
        )
        with pytest.raises(Killed):
            trainer.run(resume=True)
    again = experiment.train(recipe, tmp_path / "run", cpu=True, resume=True, budget=COSTS)
    for name in ("last", "best", "state"):
        one, two = (place.parent / f"{name}.safetensors" for place in (whole, again))
        assert same_tensors(weights.load(one)[0], weights.load(two)[0]), name
    rows = rows_of(tmp_path / "run")
    assert rows == rows_of(tmp_path / "whole")
    assert [row["stage"] for row in rows if row["kind"] == "plan"] == ["stage1", "joint"]
    assert "dice_refined" in rows[-1]
    assert weights.load(again)[1]["stage"] == "joint"
    assert experiment.load_predictor(tmp_path / "run").refines


def test_a_run_in_turns_cannot_go_on_jointly(tmp_path):
    recipe = make_tiny(tmp_path, training={"stage1_steps": 0, "stage2_steps": 1})
    options = {"cpu": True, "validate": False, "budget": COSTS}
    experiment.train(recipe, tmp_path / "run", **options)
    other = make_tiny(tmp_path, training={**TRAINING, "stage1_steps": 0})
    with pytest.raises(ValueError, match=r"stands in stage in_turns.*stages are joint"):
        experiment.train(other, tmp_path / "run", resume=True, **options)


# The budget


def test_the_budget_is_that_of_the_step_itself(hybrid, tmp_path):
    settings = TrainingSettings(segmentor="joint", batch_size=4)
    joint = count_flops(hybrid, (64, 64), settings).per_step
    apart = TrainingSettings(diffusion_weight=0, batch_size=4)
    in_turns = count_flops(hybrid, (64, 64), apart).per_step
    assert joint.keys() == {STAGE1, BASELINE, JOINT}
    assert joint[STAGE1] == joint[BASELINE] == in_turns[STAGE1]
    # the segmentor's own step and the refiner's, and the way back through the refiner's inputs
    assert in_turns[IN_TURNS] < joint[JOINT] < 1.1 * in_turns[IN_TURNS]
    training = {**TRAINING, "batch_size": 4}
    recipe = make_tiny(tmp_path, refiner={"precision": "real"}, training=training)
    trainer = experiment.make_trainer(recipe, tmp_path / "run", cpu=True, validate=False)
    assert trainer.budget.per_step == joint
    trainer.prepare(JOINT)
    with FlopCounterMode(display=False) as spent:
        trainer.step(JOINT, 0, trainer.batches("joint", 0))
    assert spent.get_total_flops() == joint[JOINT]


def test_the_baseline_of_joint_training_costs_what_it_does(tmp_path):
    trainer = make_plain_trainer(
        tmp_path, lambda *_: iter([]), arm="segmentor_only", segmentor="joint",
        stage1_steps=1, stage2_steps=5,
    )  # fmt: skip
    trainer.budget = Budget({BASELINE: 10, JOINT: 25})
    assert trainer.stages == {STAGE1: 1, BASELINE: 12}


def test_a_refiner_whose_loss_does_not_count_is_refused():
    with pytest.raises(ValidationError, match="segmentor is joint and diffusion_weight 0"):
        TrainingSettings(segmentor="joint", diffusion_weight=0)
