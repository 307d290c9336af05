"""Each stage moves its networks and no other, and depends on the settings that it names."""

import copy

import pytest

from hidiff.training import TrainingSettings, plan_stages
from hidiff.training.stages import STAGE1, STAGE2, STAGES
from tests.tiny import COSTS, same_tensors
from tests.training.test_trainer import make_batch, make_plain_trainer

READ: set[str] = set()
# Read to choose the stages and their steps, before the first of them starts.
PLANNING = {"arm", "segmentor", "stage2_steps"}


class Watched(TrainingSettings):
    """Settings that write down which of them are read."""

    def __getattribute__(self, name):
        if name in TrainingSettings.model_fields:
            READ.add(name)
        return super().__getattribute__(name)


def test_the_names_in_files_stay_as_they_are():
    assert list(STAGES) == ["stage1", "in_turns", "joint", "refiner_only", "segmentor_only"]
    assert {stage.name for stage in STAGES.values() if not stage.leaves_refiner} == {
        "stage1", "segmentor_only",
    }  # fmt: skip


def test_every_way_to_treat_the_segmentor_has_its_second_stage():
    for segmentor, stage in STAGE2.items():
        assert list(plan_stages(TrainingSettings(segmentor=segmentor), COSTS))[-1] is stage


@pytest.mark.parametrize("name", STAGES)
def test_a_step_moves_the_networks_of_its_stage_and_no_other(tmp_path, name):
    trainer = make_plain_trainer(tmp_path, lambda *_: iter([]))
    stage = STAGES[name]
    trainer.prepare(stage)
    networks = {part: getattr(trainer.hybrid, part) for part in ("segmentor", "refiner")}
    before = {part: copy.deepcopy(network.state_dict()) for part, network in networks.items()}
    trainer.step(stage, 0, iter([make_batch(2)]))
    moved = {
        p for p, network in networks.items() if not same_tensors(before[p], network.state_dict())
    }
    assert moved == set(stage.networks) == set(trainer.optimizers)
    assert trainer.ema.num_updates == stage.leaves_refiner


def test_stage_1_reads_no_setting_that_it_is_said_not_to_depend_on(tmp_path):
    settings = {"stage1_steps": 2, "stage2_steps": 0, "save_every": 1, "accumulation": 2}
    trainer = make_plain_trainer(tmp_path, lambda *_: iter([make_batch(2)] * 4), **settings)
    trainer.settings = Watched(**settings)
    READ.clear()
    trainer.run()
    assert {"stage1_rate", "clip_norm", "accumulation", "weight_decay"} <= READ
    assert set(STAGE1.settings_read) >= READ - PLANNING
    assert {"refiner_rate", "diffusion_weight", "loss"}.isdisjoint(STAGE1.settings_read)
