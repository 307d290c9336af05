"""`hidiff demo`: train, refine, evaluate and draw a small example."""

import json
import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from hidiff.cli.options import (
    Changes,
    Device,
    DeviceOption,
    Overwrite,
    Threads,
    choose_device,
    use_threads,
)
from hidiff.cli.recipes import find_recipe
from hidiff.cli.say import say

RECIPE = Path("brain")
# On networks this small a second thread gains a sixth on two quiet cores; beside one busy process
# it takes twice as long as no second thread at all.
THREADS = 1


def demo(
    output: Annotated[
        Path, typer.Option("--output", help="The folder for images, models and report.")
    ] = Path("demo"),
    changes: Changes = None,
    overwrite: Overwrite = False,
    device: DeviceOption = Device.AUTO,
    threads: Threads = THREADS,
) -> None:
    """See how it works: train and evaluate a small model of brain tissues in about two minutes.

    The images are slices of the MNI152 average brain, which comes with nilearn (the extra demo);
    nothing is downloaded. The table compares the prior (the segmentor's mask) with the refined
    mask, whether the refinement helps or not.
    """
    from hidiff import experiment
    from hidiff.cli.judging import describe, judge_into
    from hidiff.cli.run import train_into
    from hidiff.recipe import read_recipe
    from hidiff.report.files import check_free

    started = time.monotonic()
    use_threads(threads)
    images = str((output / "images").absolute())
    changed = [f"data.path={json.dumps(images)}", *(changes or ())]  # quoted: it is read as YAML
    recipe = read_recipe(find_recipe(RECIPE), changed)
    words = [str(RECIPE), "--output", str(output)]
    words += [word for change in changed for word in ("--set", change)]
    check_free(output, overwrite)
    say(f"Training on slices of a brain, to tell {', '.join(recipe.labels.class_names)}.")
    folder = output / recipe.name
    train_into(recipe, folder, shlex.join(words), resume=False, overwrite=overwrite, device=device)
    trained = time.monotonic()
    predictor = experiment.load_predictor(folder, choose_device(device))
    cases = experiment.list_cases(recipe, "test")
    facts = describe(experiment.open_model(folder), predictor, None, "test", cases, {})
    judge_into(output, predictor, cases, "Demo, tissues of a brain", facts, {}, report=True)
    ended = time.monotonic()
    say(f"Model:  {folder}")
    say(f"Try:    hidiff app {folder} {output / 'images' / 'images' / cases[0].name}.png")
    say(
        f"Training took {(trained - started) / 60:.1f} minutes, evaluation and pictures "
        f"{(ended - trained) / 60:.1f}."
    )
