"""One training of a recipe: its cases, device, folder and networks, each decided once."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from hidiff import weights
from hidiff.datasets import SPLITS_FILE, Case, write_splits
from hidiff.datasets.splits import Split
from hidiff.experiment.cases import list_splits
from hidiff.experiment.networks import make_hybrid, with_own
from hidiff.experiment.start import effective_settings, load_start
from hidiff.hybrid import HybridSegmentor
from hidiff.recipe import Recipe, write_recipe
from hidiff.training import Budget, Stage, TrainingSettings, count_flops, plan_stages
from hidiff.training.log import METRICS_FILE
from hidiff.training.stages import MODEL_FILES
from hidiff.training.state import FORMER_STATE_FILE, STATE_FILE, UNREADABLE_STATE_FILE, has_state

if TYPE_CHECKING:
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


class Experiment:
    """A recipe that is trained in a folder.

    Everything is found or made when it is first asked for, and kept. `segmentor` is the user's own
    module, in place of the recipe's. `budget` is what a step of each stage costs, if that is known;
    otherwise it is counted. With `resume` the run in the folder goes on, if there is one.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path | str,
        *,
        segmentor: nn.Module | None = None,
        resume: bool = False,
        cpu: bool = False,
        budget: Budget | None = None,
    ):
        self.recipe, self.segmentor = with_own(recipe, segmentor)
        self.folder = Path(folder)
        self.resume = resume
        self.cpu = cpu
        if budget is not None:
            self.budget = budget

    @cached_property
    def settings(self) -> TrainingSettings:
        """Return the training settings, without stage 1 if the segmentor comes trained."""
        return effective_settings(self.recipe)

    @cached_property
    def accelerator(self) -> "accelerate.Accelerator":
        """The processes, device and precision of the run."""
        # Imports much that prediction, which shares this package, does without.
        from accelerate import Accelerator

        return Accelerator(cpu=self.cpu, mixed_precision=self.settings.mixed_precision)

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    @property
    def is_first_process(self) -> bool:
        """Return whether this is the one process that looks after the folder."""
        return self.accelerator.is_main_process

    @cached_property
    def splits(self) -> dict[Split, list[Case]]:
        """Return the cases of every split; only test may be empty. Raises MissingSplit."""
        return list_splits(self.recipe)

    @cached_property
    def hybrid(self) -> HybridSegmentor:
        """Return the networks, with the weights that the recipe starts from.

        A run that goes on finds its weights in its state, so those of the recipe are not read.
        """
        hybrid = make_hybrid(self.recipe, self.segmentor)
        if not (self.resume and has_state(self.folder)):
            load_start(self.recipe, hybrid, self.accelerator.print)
        return hybrid

    @cached_property
    def budget(self) -> Budget:
        return count_flops(self.hybrid, self.recipe.data.patch_size, self.settings)

    @property
    def stages(self) -> dict[Stage, int]:
        """Return the stages, in order, and the steps of each."""
        return plan_stages(self.settings, self.budget)

    @property
    def run_files(self) -> list[Path]:
        """Return the files of a run in the folder, which would be taken for the next run's."""
        return [self.folder / name for name in RUN_FILES if (self.folder / name).exists()]

    def check_free(self) -> None:
        """Raise FileExistsError for a folder with a run, unless that run is to go on."""
        if self.is_first_process and not self.resume and (files := self.run_files):
            raise FileExistsError(
                f"{self.folder} holds a run already ({', '.join(file.name for file in files)}). "
                "Go on with it (--resume; in Python resume=True), remove it (--overwrite), or "
                "train into another folder (--set name=ANOTHER)."
            )

    def begin(self) -> None:
        """Make the folder and write the recipe and the splits to it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.is_first_process:
            return
        for name in RUN_FILES:
            weights.remove_unfinished(self.folder / name)  # by a process that was killed
        write_recipe(self.recipe, self.folder / RECIPE_FILE)
        write_splits(self.splits, self.folder)
