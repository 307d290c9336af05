"""A segmentor that may not change: the refiner alone is trained, and is resumed like any other."""

import copy
import json
from itertools import islice

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import hidiff
from hidiff import experiment, weights
from hidiff.segmentors import HookedSegmentor
from hidiff.training import TrainingSettings, count_flops
from hidiff.training.stages import IN_TURNS, REFINER_ONLY, STAGE1
from hidiff.training.steps import look_frozen
from tests.tiny import COSTS, make_tiny, same_tensors

FROZEN = {"segmentor": "frozen", "stage2_steps": 4, "save_every": 2, "validate_every": 3}


class Mine(nn.Module):
    """With batch norm and dropout, which show whether it is in eval mode."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=4, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Conv2d(4, 1, 1)
        self.modes: set[bool] = set()

    def forward(self, image):
        self.modes.add(self.training)
        return self.head(self.drop(self.norm(self.stem(image))))


def train(folder, recipe, module=None, stop=None, **options):
    module = hidiff.wrap(copy.deepcopy(module or Mine()), {4: "norm"})
    options = {"cpu": True, "budget": COSTS, **options}
    trainer = experiment.make_trainer(recipe, folder, segmentor=module, **options)
    if stop is not None:
        whole = trainer.batches
        trainer.batches = lambda stage, step: islice(whole(stage, step), stop - step)
    return trainer


def test_only_the_refiner_moves_and_the_segmentor_is_at_rest(tmp_path):
    recipe = make_tiny(tmp_path, training=FROZEN)
    mine = Mine()
    trainer = train(tmp_path / "run", recipe, mine)
    segmentor = trainer.hybrid.segmentor
    refiner = copy.deepcopy(trainer.hybrid.refiner.state_dict())
    segmentor.network.modes.clear()
    assert trainer.stages == {REFINER_ONLY: 4}
    path = trainer.run()
    assert set(trainer.optimizers) == {"refiner"}
    assert same_tensors(segmentor.network.state_dict(), mine.state_dict())
    assert segmentor.network.modes == {False}
    assert all(parameter.grad is None for parameter in segmentor.parameters())
    moved = trainer.hybrid.refiner.state_dict()
    assert not torch.equal(moved["output.weight"], refiner["output.weight"])
    _, metadata = weights.load(path)
    assert metadata["stage"] == "refiner_only"
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    assert {row["stage"] for row in rows} == {"refiner_only"}
    assert "dice_refined" in rows[-1] and "segmentor" not in rows[1]


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path):
    recipe, mine = make_tiny(tmp_path, training=FROZEN), Mine()
    whole = train(tmp_path / "whole", recipe, mine, validate=False).run()
    with pytest.raises((StopIteration, RuntimeError)):
        train(tmp_path / "run", recipe, mine, stop=3, validate=False).run()
    # it comes back with other weights: those of the run are in its state
    again = train(tmp_path / "run", recipe, Mine(), resume=True, validate=False).run(resume=True)
    assert same_tensors(weights.load(again)[0], weights.load(whole)[0])


def test_the_model_refines_when_it_is_loaded(tmp_path):
    recipe = make_tiny(tmp_path, training={**FROZEN, "stage2_steps": 1})
    module = hidiff.wrap(Mine())
    experiment.train(
        recipe, tmp_path / "run", segmentor=module, cpu=True, validate=False, budget=COSTS
    )
    assert hidiff.load(tmp_path / "run", segmentor=Mine()).refines


@pytest.mark.parametrize("features", [{4: "norm"}, {}])
def test_the_budget_is_one_look_and_the_refiners_own_step(tmp_path, features):
    """No way back through the segmentor, and no second half."""
    recipe = make_tiny(tmp_path)
    hybrid = experiment.make_hybrid(
        recipe.model_copy(
            update={"segmentor": recipe.segmentor.model_copy(update={"name": "own"})}
        ),
        hidiff.wrap(Mine(), features),
    )

    def count(**settings):
        return count_flops(hybrid, (64, 64), TrainingSettings(batch_size=2, **settings)).per_step

    frozen, both = count(segmentor="frozen"), count()
    with FlopCounterMode(display=False) as one_look:
        look_frozen(hybrid, torch.zeros(2, 3, 64, 64))
    assert frozen.keys() == {REFINER_ONLY}
    # in turns: the same, the segmentor's way back, and the second half
    assert one_look.get_total_flops() < frozen[REFINER_ONLY] < both[IN_TURNS]
    apart = count(diffusion_weight=0)
    refiner = frozen[REFINER_ONLY] - one_look.get_total_flops()
    assert refiner == apart[IN_TURNS] - apart[STAGE1]


def test_a_segmentor_without_features_lends_the_refiner_its_own_eyes(tmp_path):
    recipe = make_tiny(tmp_path, training=FROZEN)
    module = hidiff.wrap(Mine(), features={})
    trainer = experiment.make_trainer(
        recipe, tmp_path / "run", segmentor=module, cpu=True, budget=COSTS
    )
    before = copy.deepcopy(trainer.hybrid.refiner.state_dict())
    path = trainer.run()
    after = trainer.hybrid.refiner.state_dict()
    encoder = [name for name in after if name.startswith("image_encoder")]
    weights_of = [name for name in encoder if name.endswith("weight") and "norm" not in name]
    assert weights_of and not any(torch.equal(before[n], after[n]) for n in weights_of)
    # what predicts is the average, and the encoder's is in it
    stored, _ = weights.load(path)
    ema = trainer.predicting().refiner.state_dict()
    assert all(torch.equal(stored[f"refiner.{name}"], ema[name]) for name in encoder)


def test_a_baseline_cannot_be_frozen(tmp_path):
    with pytest.raises(ValueError, match="arm segmentor_only trains the segmentor, so it cannot"):
        make_tiny(tmp_path, training={"arm": "segmentor_only", "segmentor": "frozen"})


def test_random_weights_are_not_frozen_unsaid(tmp_path):
    recipe = make_tiny(tmp_path, training=FROZEN)
    with pytest.warns(UserWarning, match=r"frozen, and neither segmentor\.weights nor"):
        trainer = experiment.make_trainer(recipe, tmp_path, cpu=True, budget=COSTS)
    assert isinstance(trainer.hybrid.segmentor, HookedSegmentor)
