"""Recipe -> Trainer, with all that a run needs -> the run in its folder."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from hidiff import weights
from hidiff.datasets import SPLITS_FILE, write_splits
from hidiff.evaluation import evaluate
from hidiff.experiment.cases import batches, list_cases, list_splits, load_cases
from hidiff.experiment.memory import check_memory
from hidiff.experiment.models import checkpoint_metadata
from hidiff.experiment.networks import make_hybrid, with_own
from hidiff.experiment.predictor import make_predictor
from hidiff.experiment.start import effective_settings, load_start
from hidiff.hybrid import HybridSegmentor
from hidiff.metrics import summarise
from hidiff.recipe import Recipe, write_recipe
from hidiff.training import Trainer, count_flops
from hidiff.training.log import METRICS_FILE
from hidiff.training.state import FORMER_STATE_FILE, STATE_FILE, UNREADABLE_STATE_FILE, has_state
from hidiff.training.trainer import MODEL_FILES

if TYPE_CHECKING:  # `hidiff.experiment` also predicts, and then needs no Accelerate
    import accelerate

RECIPE_FILE = "recipe.yaml"
RUN_FILES = (
    RECIPE_FILE,
    SPLITS_FILE,
    METRICS_FILE,
    STATE_FILE,
    FORMER_STATE_FILE,
    UNREADABLE_STATE_FILE,
    *MODEL_FILES,
)


def train(
    recipe: Recipe,
    folder: Path | str,
    *,
    segmentor: nn.Module | None = None,
    resume: bool = False,
    cpu: bool = False,
    validate: bool = True,
) -> Path:
    """Train as the recipe says; checkpoints and metrics.jsonl go to `folder`. The last model.

    `segmentor` is your own module, wrapped by `hidiff.wrap` or not, in place of the recipe's; it is
    trained itself, not a copy of it. Raises FileExistsError for a folder that holds a run, unless
    it is to go on.
    """
    folder = Path(folder)
    recipe, segmentor = with_own(recipe, segmentor)
    trainer = make_trainer(
        recipe, folder, segmentor=segmentor, resume=resume, cpu=cpu, validate=validate
    )
    folder.mkdir(parents=True, exist_ok=True)
    if trainer.accelerator.is_main_process:
        if not resume and (there := list_run_files(folder)):
            raise FileExistsError(
                f"{folder} holds a run already ({', '.join(file.name for file in there)}). Go on "
                "with it (resume), remove these files, or train into another folder."
            )
        for name in RUN_FILES:
            weights.remove_unfinished(folder / name)  # by a process that was killed
        write_recipe(recipe, folder / RECIPE_FILE)
        write_splits(list_splits(recipe), folder)
    return trainer.run(resume)


def list_run_files(folder: Path) -> list[Path]:
    """What a run has left in its folder, which would be taken for the next one's."""
    return [folder / name for name in RUN_FILES if (folder / name).exists()]


def make_trainer(
    recipe: Recipe,
    folder: Path,
    *,
    segmentor: nn.Module | None = None,
    resume: bool = False,
    cpu: bool = False,
    validate: bool = True,
) -> Trainer:
    """All that a run needs, training data included; its `stages` and `budget` are known now.

    With `resume`, for a run that is to go on: the weights that it began with are not read again.
    """
    # Imports much that prediction, which shares this package, does without.
    from accelerate import Accelerator

    recipe, segmentor = with_own(recipe, segmentor)
    settings = effective_settings(recipe)
    device = torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")
    check_memory(recipe, device, segmentor)
    accelerator = Accelerator(cpu=cpu, mixed_precision=settings.mixed_precision)
    hybrid = make_hybrid(recipe, segmentor)
    if not (resume and has_state(folder)):
        load_start(recipe, hybrid, accelerator.print)
    budget = count_flops(
        hybrid,
        recipe.data.patch_size,
        settings.batch_size,
        settings.loss,
        settings.diffusion_weight,
        settings.segmentor == "frozen",
        settings.segmentor == "joint",
        settings.refiner_warmup > 0,
    )
    loaded = load_cases(recipe, "train")
    return Trainer(
        hybrid,
        lambda stage, step: batches(recipe, settings, loaded, accelerator, stage, step),
        settings,
        budget,
        folder,
        recipe.seed,
        checkpoint_metadata(recipe),
        accelerator,
        _validation(recipe, accelerator) if validate else None,
    )


def _validation(recipe: Recipe, accelerator: "accelerate.Accelerator"):
    """Mean Dice over the validation cases: of the prior, and of the refined masks."""
    cases = list_cases(recipe, "validation")

    def validate(hybrid: HybridSegmentor, refine: bool) -> dict[str, float]:
        predictor = make_predictor(hybrid, recipe, accelerator.device)
        summary = summarise(evaluate(predictor, cases, refine=refine))
        entry = summary.entry("mean", "dice")
        numbers = {"dice_prior": entry.prior.mean if entry.prior else 0.0}
        if entry.refined:
            numbers["dice_refined"] = entry.refined.mean
        return {**numbers, "score": numbers.get("dice_refined", numbers["dice_prior"])}

    return validate
