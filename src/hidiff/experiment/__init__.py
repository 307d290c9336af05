"""From a recipe or a checkpoint to objects: the one package that knows every part."""

from hidiff.experiment.cases import batches, list_cases, list_splits, load_cases
from hidiff.experiment.duration import Duration, estimate_duration
from hidiff.experiment.experiment import RECIPE_FILE, RUN_FILES, Experiment
from hidiff.experiment.memory import check_memory, estimate_memory
from hidiff.experiment.model import Model, load
from hidiff.experiment.models import (
    FORMAT,
    MODELS,
    ModelFile,
    checkpoint_metadata,
    find_folds,
    find_model,
    load_recipe,
    open_model,
)
from hidiff.experiment.networks import make_hybrid, warn_of_intensity
from hidiff.experiment.onnx import ONNX_FORMAT, export_onnx
from hidiff.experiment.predictor import load_hybrid, load_predictor, make_predictor
from hidiff.experiment.segment import segment
from hidiff.experiment.sessions import open_session
from hidiff.experiment.sharing import save_pretrained
from hidiff.experiment.training import make_trainer, prepare_training, train, train_experiment

__all__ = [
    "FORMAT",
    "MODELS",
    "ONNX_FORMAT",
    "RECIPE_FILE",
    "RUN_FILES",
    "Duration",
    "Experiment",
    "Model",
    "ModelFile",
    "batches",
    "check_memory",
    "checkpoint_metadata",
    "estimate_duration",
    "estimate_memory",
    "export_onnx",
    "find_folds",
    "find_model",
    "list_cases",
    "list_splits",
    "load",
    "load_cases",
    "load_hybrid",
    "load_predictor",
    "load_recipe",
    "make_hybrid",
    "make_predictor",
    "make_trainer",
    "open_model",
    "open_session",
    "prepare_training",
    "save_pretrained",
    "segment",
    "train",
    "train_experiment",
    "warn_of_intensity",
]
