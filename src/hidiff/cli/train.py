"""`hidiff train`: from a recipe to a trained model."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from hidiff.cli.options import (
    Changes,
    Device,
    DeviceOption,
    Overwrite,
    Threads,
    use_threads,
)
from hidiff.cli.recipes import find_recipe


def train(
    recipe: Annotated[
        Path,
        typer.Argument(help="A YAML file, or the name of a recipe that comes with HiDiff."),
    ],
    changes: Changes = None,
    output: Annotated[
        Path, typer.Option("--output", help="The run goes to OUTPUT/NAME, NAME being the recipe's.")
    ] = Path("runs"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from where the run stopped.")
    ] = False,
    overwrite: Overwrite = False,
    device: DeviceOption = Device.AUTO,
    threads: Threads = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Read the recipe and every image, print the plan, and stop there."
        ),
    ] = False,
) -> None:
    """Train a segmentor and its refiner as a recipe says.

    The run's folder gets best.safetensors, last.safetensors, recipe.yaml and metrics.jsonl.
    Several processes: [bold]torchrun --nproc_per_node 2 -m hidiff train RECIPE[/bold].

    [dim]hidiff train recipes/drive.yaml
    hidiff train recipes/folder.yaml --set data.path=mine --check
    hidiff train recipes/drive.yaml --set refiner.width=32 --set name=wider[/dim]
    """
    from hidiff.recipe import read_recipe

    use_threads(threads)
    settings = read_recipe(find_recipe(recipe), changes or ())
    if check:
        from hidiff.cli.check import check_recipe

        check_recipe(settings)
        return
    from hidiff.cli.run import say_what_is_next, train_into

    words = [str(recipe), *(word for change in changes or () for word in ("--set", change))]
    if output != Path("runs"):
        words += ["--output", str(output)]
    folder = output / settings.name
    train_into(
        settings, folder, shlex.join(words), resume=resume, overwrite=overwrite, device=device
    )
    say_what_is_next(folder)
