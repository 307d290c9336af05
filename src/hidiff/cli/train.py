"""`hidiff train`: from a recipe to a trained model."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from hidiff.cli.options import Changes, Device, DeviceOption, Overwrite, Threads, use_threads
from hidiff.cli.recipes import find_recipe


def train(
    recipe: Annotated[
        Path,
        typer.Argument(
            help="A YAML file; the name of a recipe that comes with HiDiff; or a data folder, for "
            "which a recipe is made."
        ),
    ],
    changes: Changes = None,
    output: Annotated[
        Path,
        typer.Option("--output", help="The run goes to OUTPUT/NAME; NAME is the recipe's name."),
    ] = Path("runs"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from where the run stopped.")
    ] = False,
    overwrite: Overwrite = False,
    fold: Annotated[
        int | None,
        typer.Option(
            "--fold",
            min=0,
            metavar="K",
            help="For cross-validation: validate on part K, from 0 on, of the training and "
            "validation cases, and train on the others, as the run NAME_foldK. "
            "data.splitting.folds is the number of parts.",
        ),
    ] = None,
    device: DeviceOption = Device.AUTO,
    threads: Threads = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Read the recipe and every image, print the plan, and stop there."
        ),
    ] = False,
    recipe_only: Annotated[
        bool,
        typer.Option(
            "--recipe-only", help="Write the recipe to OUTPUT/NAME.yaml, to be edited, and stop."
        ),
    ] = False,
) -> None:
    """Train a segmentor and its refiner, from a recipe or a folder of images and masks.

    The run's folder gets best.safetensors, last.safetensors, recipe.yaml and metrics.jsonl.
    Several processes: [bold]torchrun --nproc_per_node 2 -m hidiff train RECIPE[/bold].

    [dim]hidiff train recipes/drive.yaml
    hidiff train Dataset027_ACDC
    hidiff train mine --recipe-only
    hidiff train recipes/folder.yaml --set data.path=mine --check
    hidiff train recipes/drive.yaml --set refiner.width=32 --set name=wider
    hidiff train recipes/drive.yaml --fold 0[/dim]
    """
    if not recipe.is_dir():
        find_recipe(recipe)  # a misspelt name is refused before torch is imported
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"--output {output} is a file. Choose a folder.")

    from hidiff.cli.planning import find_or_plan, save_recipe
    from hidiff.recipe import choose_fold

    use_threads(threads)
    settings = choose_fold(
        find_or_plan(
            recipe,
            changes or (),
            begun_in=output if resume else None,
            cpu=device is Device.CPU,
        ),
        fold,
    )
    if recipe_only:
        save_recipe(settings, output, overwrite=overwrite)
        return
    if check:
        from hidiff.cli.check import check_recipe

        check_recipe(settings)
        return
    from hidiff.cli.run import say_what_is_next, train_into

    words = [str(recipe), *(word for change in changes or () for word in ("--set", change))]
    if fold is not None:
        words += ["--fold", str(fold)]
    if output != Path("runs"):
        words += ["--output", str(output)]
    folder = output / settings.name
    experiment = train_into(
        settings, folder, shlex.join(words), resume=resume, overwrite=overwrite, device=device
    )
    say_what_is_next(experiment)
