"""Experiment -> Trainer, with all that a run needs -> the trained run in its folder."""

from pathlib import Path

from torch import nn

from hidiff.evaluation import evaluate
from hidiff.experiment.cases import batches, load_cases
from hidiff.experiment.experiment import Experiment
from hidiff.experiment.memory import check_memory
from hidiff.experiment.models import checkpoint_metadata
from hidiff.experiment.predictor import make_predictor
from hidiff.hybrid import HybridSegmentor
from hidiff.metrics import summarise
from hidiff.recipe import Recipe
from hidiff.training import Budget, Stage, Trainer
from hidiff.training.stages import Validate


def train(
    recipe: Recipe,
    folder: Path | str,
    *,
    segmentor: nn.Module | None = None,
    resume: bool = False,
    cpu: bool = False,
    validate: bool = True,
    budget: Budget | None = None,
) -> Path:
    """Train as the recipe says and return the last model's file.

    Checkpoints and metrics.jsonl go to `folder`. `segmentor` is your own module, wrapped by
    `hidiff.wrap` or not, in place of the recipe's; it is trained itself, not a copy of it. `budget`
    is what a step of each stage costs, if that is known; otherwise it is counted. Raises
    FileExistsError for a folder that holds a run, unless it is to go on.
    """
    experiment = Experiment(
        recipe, folder, segmentor=segmentor, resume=resume, cpu=cpu, budget=budget
    )
    experiment.check_free()
    return train_experiment(experiment, validate=validate)


def train_experiment(experiment: Experiment, *, validate: bool = True) -> Path:
    """Train in the experiment's folder, which is free for it; return the last model's file."""
    trainer = prepare_training(experiment, validate=validate)
    experiment.begin()
    return trainer.run(experiment.resume)


def make_trainer(
    recipe: Recipe,
    folder: Path | str,
    *,
    segmentor: nn.Module | None = None,
    resume: bool = False,
    cpu: bool = False,
    validate: bool = True,
    budget: Budget | None = None,
) -> Trainer:
    """Return the trainer that `train` runs, which has written nothing yet."""
    experiment = Experiment(
        recipe, folder, segmentor=segmentor, resume=resume, cpu=cpu, budget=budget
    )
    return prepare_training(experiment, validate=validate)


def prepare_training(experiment: Experiment, *, validate: bool = True) -> Trainer:
    """Return a trainer with all that the run needs, training data included."""
    recipe, settings, accelerator = experiment.recipe, experiment.settings, experiment.accelerator
    check_memory(experiment)
    hybrid, budget = experiment.hybrid, experiment.budget
    loaded = load_cases(recipe, experiment.splits["train"])
    return Trainer(
        hybrid,
        lambda stage, step: batches(recipe, settings, loaded, accelerator, stage, step),
        settings,
        budget,
        experiment.folder,
        recipe.seed,
        checkpoint_metadata(recipe),
        accelerator,
        _validation(experiment) if validate else None,
    )


def _validation(experiment: Experiment) -> Validate:
    """Return a function that gives the mean Dice of the validation cases, prior and refined."""
    cases = experiment.splits["validation"]

    def validate(hybrid: HybridSegmentor, stage: Stage) -> dict[str, float]:
        predictor = make_predictor(hybrid, experiment.recipe, experiment.device)
        summary = summarise(evaluate(predictor, cases, refine=stage.leaves_refiner))
        entry = summary.entry("mean", "dice")
        numbers = {"dice_prior": entry.prior.mean if entry.prior else 0.0}
        if entry.refined:
            numbers["dice_refined"] = entry.refined.mean
        return {**numbers, "score": numbers.get("dice_refined", numbers["dice_prior"])}

    return validate
