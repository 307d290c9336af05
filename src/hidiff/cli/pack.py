"""`hidiff pack`: a trained model whose refiner works on bits, in one small file."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hidiff.cli.errors import Mistake
from hidiff.cli.options import Overwrite
from hidiff.cli.say import say
from hidiff.models import read_head

DEFAULT_NAME = "packed.safetensors"


class Storage(StrEnum):
    """The type of number that float weights have in the file."""

    FLOAT32 = "float32"
    HALF = "half"
    INT8 = "int8"


class Compute(StrEnum):
    """The type of number that float weights are multiplied in."""

    FLOAT32 = "float32"
    INT8 = "int8"


def pack(
    model: Annotated[Path, typer.Argument(help="A run's folder, or a checkpoint (.safetensors).")],
    output: Annotated[
        Path | None,
        typer.Option("--output", help=f"The file to write; left out: {DEFAULT_NAME} beside it."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            min=1,
            metavar="N",
            help="Keep only what N steps need, and predict with N steps; left out: any number of "
            "steps can be chosen later.",
        ),
    ] = None,
    condition_storage: Annotated[
        Storage,
        typer.Option(
            "--condition-storage",
            help="Type of the stored float weights that read the image's features.",
        ),
    ] = Storage.FLOAT32,
    condition_compute: Annotated[
        Compute,
        typer.Option(
            "--condition-compute",
            help="Type in which these weights are multiplied; int8 needs a processor with VNNI.",
        ),
    ] = Compute.FLOAT32,
    segmentor_storage: Annotated[
        Storage,
        typer.Option("--segmentor-storage", help="Type of the segmentor's stored weights."),
    ] = Storage.FLOAT32,
    overwrite: Overwrite = False,
) -> None:
    """Make a trained model smaller, and its refiner many times faster on processors.

    hidiff predict, evaluate and info take a packed model like any other. It cannot be trained
    further.

    [dim]hidiff pack runs/drive
    hidiff pack runs/drive --steps 5 --condition-storage int8 --output drive_small.safetensors
    hidiff pack runs/drive --condition-storage half --segmentor-storage half[/dim]
    """
    head = read_head(model)
    output = output or head.path.with_name(DEFAULT_NAME)
    if output.suffix != ".safetensors":
        raise Mistake(f"--output {output}: give a name that ends in .safetensors.")

    from hidiff import experiment, export
    from hidiff.diffusion import subset

    file = experiment.open_model(model)
    check_packable(file)
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output} exists already. Replace it with --overwrite.")
    recipe, num_steps = file.recipe, file.recipe.diffusion.num_steps
    if steps is not None and steps > num_steps:
        raise Mistake(
            f"--steps {steps}, but this model was trained with T = {num_steps} steps. "
            f"Use 1 to {num_steps}."
        )
    if steps is not None:
        prediction = recipe.prediction.model_copy(update={"steps": steps})
        recipe = recipe.model_copy(update={"prediction": prediction})
    hybrid = experiment.load_hybrid(file)
    kept = subset(num_steps, steps or num_steps)
    packed = export.pack_refiner(hybrid.refiner, kept, condition_compute.value)
    metadata = {**file.metadata, "recipe": recipe.model_dump_json()}
    storages = (condition_storage.value, segmentor_storage.value)
    export.save_packed(output, hybrid.segmentor, packed, metadata, *storages)
    before, after = (path.stat().st_size for path in (file.path, output))
    say(f"wrote {output}: {after / 2**20:.1f} MiB, {before / after:.1f} times smaller")


def check_packable(file) -> None:
    """Raise Mistake for a model that has no trained 1-bit refiner to pack."""
    if file.packed:
        raise Mistake(f"{file.path} is packed already.")
    if not file.refines:
        raise Mistake(
            f"{file.path} has no trained refiner (it is of {file.metadata['stage']}), so there is "
            "nothing to pack. Give a checkpoint of the training in turns."
        )
    if file.recipe.refiner.precision != "binary":
        raise Mistake(
            f"the refiner of {file.path} is {file.recipe.refiner.precision}, but only a 1-bit one "
            "can be packed: train with refiner.precision=binary."
        )
