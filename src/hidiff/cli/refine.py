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
from hidiff.cli.predicting import Format, Unreadable, choose_formats, predict_image, report
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
        typer.Option("--format", help="Can be repeated; left out: as of predict."),
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
    chosen = {image.stem: choose_formats(image, formats or ()) for image in images}
    if not overwrite:
        for kinds in set(chosen.values()):
            check_free(output, [image for image in images if chosen[image.stem] == kinds], kinds)
    if not prior.is_dir():
        raise FileNotFoundError(f"--prior {prior} is no folder. Check the path.")

    from hidiff import experiment
    from hidiff.images import DataError, find_prior

    use_threads(threads)
    predictor = experiment.load_predictor(model, choose_device(device))
    priors = predictor.priors
    if priors is None:
        raise Mistake(
            f"{model} has a segmentor of its own, and does not refine the masks of another. Use "
            "hidiff predict, or train a model with segmentor.name=files."
        )
    check_steps(changes, predictor.hybrid.schedule.num_steps)
    failures = []
    with progress_bar() as bar:
        for image in bar.track(images, description="refining"):
            try:
                file = find_prior(prior, image.stem, priors.kind)
                predict_image(
                    predictor, image, output, chosen[image.stem], {"overwrite": overwrite},
                    {**changes, "prior": file},
                )  # fmt: skip
            except (Unreadable, DataError) as error:
                failures.append(str(error))
    report(failures, len(images), output)
