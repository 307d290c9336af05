"""Training: the segmentor first, then segmentor and refiner, in turns or jointly."""

from hidiff.training.budget import Budget, count_flops, plan_stages, time_steps
from hidiff.training.correction import SimulatedMarks
from hidiff.training.ema import EMA
from hidiff.training.finite import NotFiniteError
from hidiff.training.settings import TrainingSettings
from hidiff.training.stages import Stage, stage2_of
from hidiff.training.state import load_model, save_model
from hidiff.training.steps import Batch
from hidiff.training.stopping import TrainingStopped
from hidiff.training.trainer import Trainer

__all__ = [
    "EMA",
    "Batch",
    "Budget",
    "NotFiniteError",
    "SimulatedMarks",
    "Stage",
    "Trainer",
    "TrainingSettings",
    "TrainingStopped",
    "count_flops",
    "load_model",
    "plan_stages",
    "save_model",
    "stage2_of",
    "time_steps",
]
