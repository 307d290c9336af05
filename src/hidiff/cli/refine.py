"""`hidiff refine`: another model's probability maps, refined."""

from pathlib import Path
from typing import Annotated

import typer

from hidiff.cli.errors import Mistake
from hidiff.cli.inputs import check_free, find_inputs
from hidiff.cli.options import (
    Device,
    DeviceOption,
    Overwrite,
    Threads,
    choose_device,
    use_threads,
)
from hidiff.cli.predicting import Format, Unreadable, predict_picture, report
from hidiff.cli.prediction_options import SettingChanges, check_steps, with_prediction_settings
from hidiff.cli.progress import progress_bar


@with_prediction_settings
def refine(
    model: Annotated[Path, typer.Argument(help="A run's folder, or a checkpoint (.safetensors).")],
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Images, and folders of images.")
    ],
    prior: Annotated[
        Path, typer.Option("--prior", help="The folder of the priors, by the images' names.")
    ],
    output: Annotated[Path, typer.Option("--output", help="The folder to write to.")],
    formats: Annotated[
        list[Format] | None,
        typer.Option("--format", help="Can be repeated; left out: png."),
    ] = None,
    overwrite: Overwrite = False,
    device: DeviceOption = Device.AUTO,
    threads: Threads = None,
    *,
    changes: SettingChanges,
) -> None:
    """Refine probability maps of another model, as nnU-Net writes them, or softened masks.

    The model must be trained on such priors (segmentor.name=files); its recipe says what they are.
    What is written, and what happens to an image or prior that does not read, is as of predict.

    [dim]hidiff refine runs/refined --prior probabilities/ images/ --output out[/dim]
    """
    images = find_inputs(inputs)
    chosen = [each.value for each in formats or [Format.PNG]]
    if volumes := [each.file for each in images if each.is_volume]:
        raise Mistake(f"{volumes[0]} is a volume, but priors of pictures alone can be refined yet.")
    if not overwrite:
        check_free(output, images, chosen)
    if not prior.is_dir():
        raise FileNotFoundError(f"--prior {prior} is no folder. Check the path.")

    from hidiff import experiment
    from hidiff.images import DataError, find_prior

    use_threads(threads)
    predictor = experiment.load(model, choose_device(device))
    priors = predictor.priors
    if priors is None:
        raise Mistake(
            f"{model} has a segmentor of its own, and does not refine the masks of another. Use "
            "hidiff predict, or train a model with segmentor.name=files."
        )
    check_steps(changes, predictor.hybrid.schedule.num_steps)
    failures = []
    with progress_bar() as bar:
        for each in bar.track(images, description="refining"):
            try:
                found = find_prior(prior, each.stem, priors.kind)
                predict_picture(
                    predictor, each, output, chosen, {"overwrite": overwrite},
                    {**changes, "prior": found}, lambda share: None,
                )  # fmt: skip
            except (Unreadable, DataError) as error:
                failures.append(str(error))
    report(failures, len(images), output)
