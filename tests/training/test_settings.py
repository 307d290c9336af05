"""Settings know whether the first stage depends on them."""

from hidiff.training import TrainingSettings
from hidiff.training.settings import stage1_settings


class Longer(TrainingSettings):
    momentum: float = 0.9


def test_stage_1_depends_on_a_new_setting_unless_it_is_marked():
    assert stage1_settings(Longer) == [*stage1_settings(), "momentum"]


def test_stage_1_depends_on_no_setting_of_stage_2():
    marked = set(TrainingSettings.model_fields) - set(stage1_settings())
    assert {"stage2_steps", "segmentor_rate", "refiner_rate", "diffusion_weight", "loss"} <= marked
    assert not {"stage1_steps", "stage1_rate", "batch_size", "weight_decay"} & marked
